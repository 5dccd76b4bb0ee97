"""`python -m studies.claims`, in the root of a checkout."""

from stablenormal.errors import DataError
from studies.claims.study import main

try:
    main()
except DataError as error:
    raise SystemExit(f"error: {error}") from None
