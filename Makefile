# Builds and installs the extension with PGXS, and runs its tests and its demo.
#
#   make demo                    on a fresh Debian machine: install what is missing, build, show it at work
#   make test                    likewise: all tests; the last line reads "N passed, N failed"
#   make sanitize                all tests with AddressSanitizer and UndefinedBehaviorSanitizer
#   make soak                    ten minutes under load and churn (ALERTING_SOAK_SECONDS=600)
#   make test-all                "make test" beside other extensions, the packages, and all on PostgreSQL 17 and 18
#   make && make install         build and install (PG_CONFIG=/path/to/pg_config picks a server)
#   make installcheck            regression, isolation and TAP tests against the installed extension
#   make dist                    the archive for PGXN, from the last commit
#   make bench, bench-quick      benchmarks against the installed extension, beside their floors and peers
#   make bench-peers             beside Prometheus with Alertmanager, which it installs, and pg_net, if it is there
#   make docs                    the site of docs/, into build/site (needs mkdocs)
#   make format-check            clang-format's opinion; make format applies it
#
# Settings: WERROR=1 (implied by CI=1, and by "make test") turns warnings into errors.

PG_CONFIG ?= pg_config

EXTENSION  = alerting
MODULE_big = alerting
# The script's version, "1.0" from default_version = '1.0'.
EXTVERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'.*/\1/p" $(dir $(firstword $(MAKEFILE_LIST)))alerting.control)

# The folder of this file: "." or, in a VPATH build, the source tree.
TOP := $(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST))))
sources = $(patsubst $(TOP)/%,%,$(sort $(wildcard $(TOP)/$(1))))

LAYERS    = core net pg ext ext/*
OBJS      = $(patsubst %.cpp,%.o,$(foreach layer,$(LAYERS),$(call sources,src/$(layer)/*.cpp)))
DEPS      = $(OBJS:.o=.d)
SQL_PARTS = $(sort $(wildcard $(TOP)/extension/$(EXTVERSION)/*.sql))
# Updates to this version are built, too; the scripts of released versions are kept as they were.
UPDATES    = $(notdir $(call sources,extension/updates/*--$(EXTVERSION).sql))
DATA_built = alerting--$(EXTVERSION).sql $(UPDATES:%=alerting--%)
DATA       = $(call sources,extension/released/alerting--*.sql)

REGRESS     := $(notdir $(basename $(call sources,sql/*.sql)))
ISOLATION   := $(notdir $(basename $(call sources,test/isolation/specs/*.spec)))
PROVE_TESTS := $(call sources,test/t/*.pl)
ISOLATION_OPTS = --inputdir=$(TOP)/test/isolation
ifneq ($(PROVE_TESTS),)
TAP_TESTS = 1
endif

# Bitcode of C++ buys nothing here and needs a clang that matches the server's LLVM.
override with_llvm = no

# Before 16 the server's PGDLLEXPORT is empty; everything else stays hidden (the server loads
# libraries with RTLD_GLOBAL, so an exported C++ symbol could collide with another extension's).
SERVER_HEADERS := $(shell $(PG_CONFIG) --includedir-server 2>/dev/null)
PG_CPPFLAGS = -I$(TOP)/src -DPGDLLEXPORT='__attribute__((visibility("default")))' \
	-isystem $(SERVER_HEADERS)
PG_CXXFLAGS = -std=c++20 -fno-rtti -fno-lto -fvisibility=hidden -fvisibility-inlines-hidden \
	-MMD -MP -Wall -Wextra -Wshadow -Wconversion
# A tree once built so stays so until "make clean": else "make test" would pass over warnings in what
# was compiled before.
ifneq ($(filter-out 0,$(WERROR)$(CI))$(filter -Werror,$(shell cat build/flags 2>/dev/null)),)
PG_CXXFLAGS += -Werror
endif
# The server's own flags are those of the compiler that it was built with.
ifneq ($(findstring clang,$(CXX)),)
PG_CXXFLAGS += -Wno-unknown-warning-option -Wno-ignored-optimization-argument
endif
SHLIB_LINK = -lcurl -lstdc++ -pthread -Wl,--version-script=$(TOP)/src/ext/exports.map

EXTRA_CLEAN = $(DEPS) build/flags

# Debian's client packages bring PGXS, but not the headers.
PGXS := $(if $(wildcard $(SERVER_HEADERS)/postgres.h),$(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null)))

ifneq ($(PGXS),)
all:
include $(PGXS)
# For tests: sanitizers, and the points at which they stop a process (src/pg/freeze_point.h).
ifneq ($(filter-out 0,$(TEST_BUILD)),)
override CPPFLAGS += -DALERTING_FREEZE_POINTS -U_FORTIFY_SOURCE
override CXXFLAGS += -g1 -O0 -fno-wrapv -fno-omit-frame-pointer \
	-fsanitize=address,undefined -fno-sanitize-recover=undefined
SHLIB_LINK += -fsanitize=address,undefined
endif
# Objects live in folders of their own, which a VPATH build has to make.
$(shell mkdir -p build $(sort $(dir $(OBJS))))

# What was compiled for another server or with other flags is compiled again.
FLAGS = $(VERSION) $(CXX) $(CXXFLAGS) $(CPPFLAGS)
ifneq ($(shell cat build/flags 2>/dev/null),$(shell echo '$(subst ','\'',$(FLAGS))'))
$(shell echo '$(subst ','\'',$(FLAGS))' > build/flags)
endif
$(OBJS): build/flags
$(shlib): $(TOP)/src/ext/exports.map
-include $(DEPS)

# The folder is a prerequisite so that a file taken away counts as a change too.
alerting--$(EXTVERSION).sql: $(SQL_PARTS) $(TOP)/extension/$(EXTVERSION)
	cat $(SQL_PARTS) < /dev/null > $@.tmp && mv $@.tmp $@

# See extension/updates/begin.sql.
update = $(addprefix $(TOP)/extension/updates/,begin.sql $(1)) $(filter-out %_once.sql,$(SQL_PARTS)) $(TOP)/extension/updates/end.sql
alerting--%--$(EXTVERSION).sql: $(call update,%--$(EXTVERSION).sql) $(TOP)/extension/$(EXTVERSION)
	cat $(call update,$*--$(EXTVERSION).sql) > $@.tmp && mv $@.tmp $@

else
# No server headers yet: only the targets below, which install them, work.
all install installcheck uninstall clean:
	@echo "$@: '$(PG_CONFIG)' knows no PGXS or no server headers; install postgresql-server-dev-NN (scripts/install-dependencies does) or set PG_CONFIG=" >&2; exit 1
endif

export PG_CONFIG

# The sources that clang-format 14 lays out; "make format" does it, "make format-check" only looks.
CLANG_FORMAT ?= clang-format
FORMATTED = $(wildcard $(foreach kind,h cpp,src/*/*.$(kind) src/*/*/*.$(kind) test/*/*.$(kind) bench/*.$(kind)))

# The archive for PGXN: what the last commit holds, under the version that META.json names.
DISTVERSION = $(shell sed -n 's/^  "version": "\(.*\)".*/\1/p' META.json)

bench bench-quick: all
	@scripts/install-dependencies bench
	@$(MAKE) --no-print-directory -s install
	@bench/run $(if $(filter %-quick,$@),quick)

bench-peers: all
	@scripts/install-dependencies bench-peers
	@$(MAKE) --no-print-directory -s install
	@bench/run peers

# Also beside other extensions, the packages, and other versions of PostgreSQL, each in a chroot of the
# Debian suite that has it.
test-all:
	@scripts/install-dependencies test
	@scripts/install-dependencies test-all
	@PG_TEST_EXTRA=neighbours test/run
	@rm -rf build/clang && mkdir -p build/clang && git archive HEAD | tar xf - -C build/clang
	@$(MAKE) --no-print-directory -s -C build/clang -j$$(nproc) CXX=clang++ WERROR=1 all && echo "builds with clang, without warnings"
	@test/packages/run
	@scripts/test-on-suite trixie 17
	@scripts/test-on-suite forky 18

.PHONY: test test-all sanitize soak demo bench bench-quick bench-peers docs format format-check dist
dist:
	git archive --format=zip --prefix=alerting-$(DISTVERSION)/ -o alerting-$(DISTVERSION).zip HEAD

docs:
	@command -v mkdocs >/dev/null || { echo "mkdocs is not installed: apt-get install mkdocs" >&2; exit 1; }
	mkdocs build --strict --quiet
	@echo "build/site/index.html"

format:
	$(CLANG_FORMAT) -i $(FORMATTED)

format-check:
	$(CLANG_FORMAT) --dry-run -Werror $(FORMATTED)

test:
	@scripts/install-dependencies test
	@test/run

sanitize:
	@scripts/install-dependencies test
	@ALERTING_LONG=1 test/run sanitize

soak:
	@scripts/install-dependencies test
	@ALERTING_SOAK_SECONDS=$${ALERTING_SOAK_SECONDS:-600} PROVE_TESTS=test/t/395_soak.pl test/run tap

demo:
	@scripts/install-dependencies demo
	@echo "Building and installing the extension"
	@$(MAKE) --no-print-directory -s -j$$(nproc) all
	@$(MAKE) --no-print-directory -s install
	@demo/run
