"""`perron batch`: an agent over the rows of a file."""
