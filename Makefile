# Two commands do everything on a fresh Debian 12 machine, as root, including
# the installation of what they need:
#   make demo    Nova boots servers from VMThunder volumes, on real kernels
#   make test    checks and tests; the last line counts them
# The others need no root if Python can make virtual environments.

PYTHON_VENV := .venv/bin/python

.PHONY: help demo test ci unit functional contract caches failures model storm nova tempest steps lint pep8 mypy docs releasenotes cover
.PHONY: config lab venv clean bench

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -n 5
	@echo "  make contract   what Cinder's users do, killed, fenced, on a full pool"
	@echo "  make caches   what every cache layer of this kernel promises"
	@echo "  make model   the same at random, compared with a model"
	@echo "  make failures   cut hosts' power, network, disks while guests write"
	@echo "  make storm   attach on 8 hosts at once, beside stock LVM/iSCSI"
	@echo "  make bench   measure what is ours beside what is there without us"
	@echo "  make nova   Nova's servers: boot, migrate, evacuate, resize, rebuild"
	@echo "  make tempest   run OpenStack's own tests of Cinder with this driver"
	@echo "  make steps   kill attach and import at each step, not at some"
	@echo "  make unit | functional | lint | docs | releasenotes | cover | config | clean"

demo: lab
	@$(PYTHON_VENV) -m demo

test: lab
	@$(PYTHON_VENV) -m tools.run_tests lint unit functional

# All that a change is judged by.
ci: lab
	@$(PYTHON_VENV) -m tools.run_tests lint unit functional contract demo

unit lint pep8 mypy: venv
	@$(PYTHON_VENV) -m tools.run_tests $@

# Each 40 steps are a sequence, of a seed of its own.
model: export VMTHUNDER_MODEL_STEPS ?= 400
model: export VMTHUNDER_MODEL_SEED ?= 1000
model: export VMTHUNDER_MODEL_VERBOSE ?= 1

functional contract caches failures model storm tempest steps: lab
	@$(PYTHON_VENV) -m tools.run_tests $@

# What servers boot from is made outside the lab, once.
nova: lab
	@$(PYTHON_VENV) -m tests.lab.image > /dev/null
	@$(PYTHON_VENV) -m tools.run_tests $@

# Ratios, medians of five rounds: see doc/source/benchmarks.rst.
bench: lab
	@$(PYTHON_VENV) -W ignore -m tests.bench
	@$(PYTHON_VENV) -W ignore -m tests.bench storm --json doc/source/storm-results.json \
		--plots doc/source/images --rst doc/source/storm-results.inc

docs: venv
	@$(PYTHON_VENV) -m sphinx -q -W --keep-going -b html doc/source doc/build/html
	@echo "doc/build/html/index.html"

releasenotes: venv
	@.venv/bin/reno -q lint
	@$(PYTHON_VENV) -m sphinx -q -W --keep-going -b html \
		releasenotes/source releasenotes/build/html
	@echo "releasenotes/build/html/index.html"

cover: venv
	@$(PYTHON_VENV) -m coverage erase
	@$(PYTHON_VENV) -m coverage run -m tools.run_tests unit
	@$(PYTHON_VENV) -m coverage combine -q
	@$(PYTHON_VENV) -m coverage html -q
	@$(PYTHON_VENV) -m coverage report --fail-under=90

# The sample configuration files in etc/, from the options in the code.
config: venv
	@for file in etc/oslo-config-generator/*.conf; do \
		.venv/bin/oslo-config-generator --config-file "$$file" || exit 1; \
	done

lab:
	@tools/prepare.sh lab

venv:
	@tools/prepare.sh

clean:
	rm -rf .cache .mypy_cache .stestr .hypothesis .tox .venv build dist
	rm -rf doc/build releasenotes/build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/vmthunder"
