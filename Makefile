# payguard: build, install and the two commands of the README.
#
#   make              builds the library and the install script (needs the server's headers)
#   make install      installs them into the server that PG_CONFIG names
#   make demo         a newcomer's walk through a real case, on a throwaway server
#   make console      a day of a shop, and the page where a clerk settles its doubled payments
#   make test         every test, on throwaway servers
#   make bench        payments per second; bench-exact, bench-channel, bench-growth, bench-ddl: doc/benchmark.md
#   make dist         the archive for PGXN

EXTENSION = payguard
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" payguard.control)

MODULE_big = payguard
OBJS = $(patsubst %.c,%.o,$(wildcard src/*.c src/*/*.c))
HDRS = $(wildcard src/*.h src/*/*.h)
# The parts of the install script, in their order.
SQL_PARTS = 00_schema 10_order 20_channel 30_payment 40_event 45_notification 50_evidence 60_refund 61_policy 62_approval 64_archive 65_settlement 66_alert 70_task 75_driver 76_counters 77_consumer 78_maintain 79_case 80_protect 81_ddl 83_guard 85_verify 87_dump 90_access 95_private
SQL_FILES = $(SQL_PARTS:%=src/sql/%.sql)
# What was released, and what an update to this version does: doc/design.md, "Versions".
UPDATES = $(patsubst src/sql/update/%.sql,payguard--%.sql,$(wildcard src/sql/update/*--$(EXTVERSION).sql))
DATA_built = payguard--$(EXTVERSION).sql $(UPDATES)
DATA = $(filter-out $(DATA_built:%=src/sql/frozen/%),$(wildcard src/sql/frozen/*.sql))
EXTRA_CLEAN = payguard--*.sql META.json payguard-*.zip results regression.diffs regression.out output_iso test/output_iso tmp_check

REGRESS_OPTS = --load-extension=payguard
REGRESS = $(patsubst sql/%.sql,%,$(wildcard sql/*.sql))
ISOLATION = $(patsubst test/specs/%.spec,%,$(wildcard test/specs/*.spec))
ISOLATION_OPTS = --load-extension=payguard --inputdir=test --outputdir=test/output_iso

PG_CPPFLAGS = -I$(CURDIR)/src
# Inline functions of the server's headers have parameters that they do not use, and so has each
# SQL function without arguments.
PG_CFLAGS = -Wall -Wextra -Wno-unused-parameter

# make demo, make console and make test install what is missing, the server's headers too, so they must not
# need PGXS.
RUN_GOALS := $(filter demo console test test-% bench bench-% torture torture-%,$(MAKECMDGOALS))
ifneq (,$(RUN_GOALS))
.PHONY: $(RUN_GOALS)
$(RUN_GOALS):
	@test/run $@
else
PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

$(OBJS) $(OBJS:.o=.bc): $(HDRS) $(EXTENSION).control Makefile

# The pages, in a folder of their own below pg_config --docdir, so that what they link to stays beside them.
PAGES = README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md $(sort $(shell find doc examples -type f ! -path 'doc/*.py' ! -name '*.pyc'))
PAGES_DIR = $(DESTDIR)$(docdir)/$(EXTENSION)

.PHONY: install-pages uninstall-pages
install: install-pages
install-pages:
	@for page in $(PAGES); do \
	  $(MKDIR_P) "$(PAGES_DIR)/$$(dirname $$page)" && $(INSTALL_DATA) $$page "$(PAGES_DIR)/$$page" || exit 1; \
	done
uninstall: uninstall-pages
uninstall-pages:
	rm -rf '$(PAGES_DIR)'

# Names are looked up in pg_catalog, whatever the database has in front of it.
SCRIPT_HEAD = printf '%s\n' '\echo Use "$(1) payguard$(2)" to load this file. \quit' 'SET LOCAL search_path = pg_catalog, pg_temp;'

payguard--$(EXTVERSION).sql: $(SQL_FILES) $(EXTENSION).control Makefile
	{ $(call SCRIPT_HEAD,CREATE EXTENSION); cat $(SQL_FILES); } > $@

$(UPDATES): payguard--%.sql: src/sql/update/%.sql src/sql/update.awk $(DATA) $(SQL_FILES) Makefile
	{ $(call SCRIPT_HEAD,ALTER EXTENSION, UPDATE); \
	  awk -f src/sql/update.awk src/sql/frozen/payguard--$(firstword $(subst --, ,$*)).sql $(SQL_FILES) $<; } > $@ || { rm -f $@; exit 1; }

# A release: its scripts as they are from now on.
.PHONY: freeze
freeze: $(DATA_built)
	@for script in $^; do [ ! -e src/sql/frozen/$$script ] || { echo "$$script is frozen already"; exit 1; }; done
	cp $^ src/sql/frozen/
	cd src/sql/frozen && sha256sum payguard--*.sql | LC_ALL=C sort -k 2 > SHA256SUMS
endif

# make dist: what the PostgreSQL Extension Network takes, of the last commit.
DIST = payguard-$(EXTVERSION)

META.json: META.json.in $(EXTENSION).control
	sed 's/@VERSION@/$(EXTVERSION)/' $< > $@

.PHONY: dist
dist: META.json
	git archive --format=zip --prefix=$(DIST)/ --add-file=META.json -o $(DIST).zip HEAD
