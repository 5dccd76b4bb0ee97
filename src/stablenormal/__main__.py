"""`python -m stablenormal` is the `stablenormal` command."""

from stablenormal.cli.main import main

if __name__ == "__main__":
    main()
