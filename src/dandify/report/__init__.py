"""What a person looks at: tables and summaries of records the other rooms return."""
