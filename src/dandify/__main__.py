"""``python -m dandify``: the command line."""

from dandify.cli.main import main

if __name__ == "__main__":
    main(prog_name="dandify")
