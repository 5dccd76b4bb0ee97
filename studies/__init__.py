"""What only a study needs: not in the wheel, but typed, linted and tested like the package."""
