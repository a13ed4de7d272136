# Everything that a day's work needs. `make` alone lists it.
.DEFAULT_GOAL := help
.PHONY: help check fix test demo soak pins upgrade

help:  ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

check:  ## All of CI: format, lint, types, imports, tests
	.ci/run

fix:  ## Mend what a tool can mend
	uv run ruff check --fix
	uv run ruff format

test:  ## Some tests: make test T=tests/services
	uv run pytest $(T)

soak:  ## Faults at random for half an hour, and a verdict: make soak SEED=7 MINUTES=5 FAULTS=kill,crash
	uv run python -m tests.soak $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) $(if $(FAULTS),--faults $(FAULTS))

demo:  ## Watch an agent work, be killed and come back
	uv run perron demo

pins:  ## Write the version of each package into pyproject.toml, after a change of dependencies
	uv run --no-project python tools/pins.py

upgrade:  ## The same with the newest versions
	uv run --no-project python tools/pins.py --upgrade
