"""`python -m ironic_lite` is the command `ironic-lite`."""

from ironic_lite.cli import main

if __name__ == "__main__":
    main()
