# A package, so that this folder's conftest is not mistaken for the one above, from which the scenarios import.
