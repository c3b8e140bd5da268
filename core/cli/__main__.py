"""``python -m core.cli`` is ``pannscope``."""

from core.cli.main import main

if __name__ == "__main__":
    main()
