"""The paper's claims at small scale: what is trained, how it is measured, and what follows."""
