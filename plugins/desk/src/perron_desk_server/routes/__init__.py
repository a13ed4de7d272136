"""The desk's HTTP routes: one file per noun."""
