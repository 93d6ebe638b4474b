# SPDX-License-Identifier: Apache-2.0
# Penstock's one Makefile: non-recursive, out of tree (everything lands in build/).
#
#   make            all programs and BPF objects        make test [SUITE=name]
#   make demo       the whole thing, in namespaces      make bench [BENCH=name]
#   make record RECORD=FILE [PART=…]  all benches of the tunnel, as docs/performance.md has them
#   make lint       layering, purity, format, secrets   make fuzz [TARGET=… SECONDS=…]
#   make format     clang-format the tree               make install DESTDIR=…
#
# Variables: SAN=1 builds with ASan+UBSan into build/san; V=1 shows commands; WERROR=0 relaxes.
#
# Files are discovered, never listed: drop userspace/<layer>/x.c, tests/unit/test_x.c,
# tests/sim/scn_x.c, tests/policy/test_x.c, tests/fuzz/fuzz_x.c, tests/bench/b_x.c, tests/bpf/test_x.c,
# tests/netns/t_x.sh, bpf/x.bpf.c and they are built and run.

SHELL := /bin/bash
comma := ,
.DELETE_ON_ERROR:
.SUFFIXES:
.SECONDARY:
MAKEFLAGS += --no-builtin-rules

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-7s %s\n' '$(1)' '$(patsubst $(CURDIR)/%,%,$(2))')

SAN ?=
WERROR ?= 1
BUILD := build$(if $(SAN),/san)
GEN := build/gen

CC := gcc
CLANG := $(shell for c in clang-19 clang-18 clang-17 clang-16 clang; do command -v $$c && break; done 2>/dev/null)
BPFTOOL := $(shell PATH=$$PATH:/usr/sbin:/sbin; command -v bpftool)
CLANG_FORMAT := $(shell for c in clang-format-19 clang-format; do command -v $$c && break; done 2>/dev/null)

WARN := -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wswitch-enum -Wmissing-prototypes \
	-Wstrict-prototypes -Wvla -Wpointer-arith -Wundef $(if $(filter 1,$(WERROR)),-Werror)
SANFLAGS := $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=all -fno-omit-frame-pointer)
VERSION := $(shell cat VERSION 2>/dev/null || echo 0.0.0)
CPPFLAGS := -Iinclude -Iuserspace -I$(GEN) -I. -D_GNU_SOURCE -DPENSTOCK_VERSION='"$(VERSION)"'
# Instrumented code makes gcc see uninitialised values that are not there.
CFLAGS := -std=gnu17 -O2 -g -fstack-protector-strong $(WARN) $(SANFLAGS) $(if $(SAN),-Wno-maybe-uninitialized)
LDFLAGS := $(SANFLAGS) -Wl,--as-needed
PURE_LIBS := -lsodium -lcrypto -ljansson -lz -lm
TEST_LIBS := -lldns
IO_LIBS := -lcares -lbpf -lxdp -lelf -luv -lwebsockets -lssl -lmnl -lnftables -lsystemd

PURE_SRCS := $(sort $(wildcard userspace/base/*.c userspace/crypto/*.c userspace/codec/*.c \
	userspace/core/*/*.c userspace/fwd/*.c))
IO_SRCS := $(sort $(wildcard userspace/io/*.c))
DAEMON_SRCS := $(sort $(wildcard userspace/apps/daemon/*.c))
PORTAL_SRCS := $(sort $(wildcard userspace/apps/portal/*.c))
PORTAL_LIB_SRCS := $(filter-out userspace/apps/portal/main.c,$(PORTAL_SRCS))
RELAY_SRCS := $(sort $(wildcard userspace/apps/relay/*.c))
CTL_SRCS := $(sort $(wildcard userspace/apps/ctl/*.c))
SIM_SRCS := $(sort $(wildcard tests/sim/sim_*.c))
POLICY_SRCS := $(sort $(wildcard tests/policy/p[wm]_*.c))

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
LIBPURE := $(BUILD)/libpenstock-pure.a
LIBIO := $(BUILD)/libpenstock-io.a
LIBDAEMON := $(BUILD)/libpenstock-daemon.a
LIBPORTAL := $(BUILD)/libpenstock-portal.a

PROGS := $(if $(wildcard userspace/apps/gateway.c),$(BUILD)/penstock-gateway) \
	$(if $(wildcard userspace/apps/client.c),$(BUILD)/penstock-client) \
	$(if $(wildcard userspace/apps/relay/main.c),$(BUILD)/penstock-relay) \
	$(if $(wildcard userspace/apps/portal/main.c),$(BUILD)/penstock-portal) \
	$(if $(wildcard userspace/apps/ctl/main.c),$(BUILD)/penstock)

BPF_SRCS := $(sort $(wildcard bpf/*.bpf.c))
BPF_OBJS := $(patsubst bpf/%.bpf.c,build/bpf/%.bpf.o,$(BPF_SRCS))
SKELS := $(patsubst bpf/%.bpf.c,$(GEN)/%.skel.h,$(BPF_SRCS))

test_bins = $(patsubst %.c,$(BUILD)/%,$(sort $(wildcard $(1))))
UNIT_BINS := $(call test_bins,tests/unit/test_*.c)
SCN_BINS := $(call test_bins,tests/sim/scn_*.c)
BPFT_BINS := $(call test_bins,tests/bpf/test_*.c)
POLICY_BINS := $(call test_bins,tests/policy/test_*.c)
BENCH_BINS := $(call test_bins,tests/bench/b_*.c)
WGLOAD := $(BUILD)/tests/bench/h_wgload
INTEROP_BINS := $(call test_bins,tests/interop/i_*.c)
NETNS_BINS := $(call test_bins,tests/netns/h_*.c)
FUZZ_BINS := $(call test_bins,tests/fuzz/fuzz_*.c)

.PHONY: all tests test demo bench record lint fuzz format install clean deps distclean
all: $(PROGS) $(BPF_OBJS)
tests: all $(UNIT_BINS) $(SCN_BINS) $(BPFT_BINS) $(POLICY_BINS) $(INTEROP_BINS) $(NETNS_BINS) $(FUZZ_BINS) $(WGLOAD)
benches: all $(BENCH_BINS) $(BUILD)/tests/netns/h_turnload $(BUILD)/tests/netns/h_connload $(WGLOAD)

# ---- BPF objects and skeletons -------------------------------------------------------------------
BPF_CFLAGS := -target bpf -mcpu=v3 -std=gnu17 -O2 -g -Wall -Wextra -Werror -Wno-unused-function \
	-Wno-missing-declarations -Wno-address-of-packed-member -Iinclude -Ibpf \
	-I/usr/include/$(shell uname -m)-linux-gnu
build/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(BPF_CFLAGS) -MMD -MP -MF $@.d -MT $@ -c $< -o $@
$(GEN)/%.skel.h: build/bpf/%.bpf.o
	$(call say,SKEL,$@)
	$(Q)mkdir -p $(@D)
	$(Q){ echo '#pragma GCC system_header'; $(BPFTOOL) gen skeleton $< name $(subst .,_,$*)_bpf; } > $@.tmp && mv $@.tmp $@

# ---- objects and libraries -----------------------------------------------------------------------
$(BUILD)/obj/%.o: %.c | $(SKELS)
	$(call say,CC,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(CPPFLAGS) $(CFLAGS) -MMD -MP -c $< -o $@

define archive
$(1): $(call obj,$(2))
	$$(call say,AR,$$@)
	$(Q)mkdir -p $$(@D); rm -f $$@
	$(Q)ar rcs $$@ $$^
endef
$(eval $(call archive,$(LIBPURE),$(PURE_SRCS)))
$(eval $(call archive,$(LIBIO),$(IO_SRCS)))
$(eval $(call archive,$(LIBDAEMON),$(DAEMON_SRCS)))
$(eval $(call archive,$(LIBPORTAL),$(PORTAL_LIB_SRCS)))

link = $(Q)mkdir -p $(@D) && $(CC) $(LDFLAGS) -o $@ $(filter %.o,$^) $(filter %.a,$^) $(filter %.a,$^) $(1)
$(BUILD)/penstock-gateway: $(call obj,userspace/apps/gateway.c) $(LIBDAEMON) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS))
$(BUILD)/penstock-client: $(call obj,userspace/apps/client.c) $(LIBDAEMON) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS))
$(BUILD)/penstock-relay: $(call obj,$(RELAY_SRCS)) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS))
$(BUILD)/penstock-portal: $(call obj,userspace/apps/portal/main.c) $(LIBPORTAL) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS))
$(BUILD)/penstock: $(call obj,$(CTL_SRCS)) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS))

# ---- tests, fuzz targets, benches ----------------------------------------------------------------
TEST_OBJ := $(call obj,tests/t.c)
$(UNIT_BINS): $(BUILD)/%: $(BUILD)/obj/%.o $(TEST_OBJ) $(LIBPORTAL) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS) $(TEST_LIBS))
$(SCN_BINS): $(BUILD)/%: $(BUILD)/obj/%.o $(call obj,$(SIM_SRCS)) $(TEST_OBJ) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(PURE_LIBS))
$(BPFT_BINS) $(INTEROP_BINS) $(NETNS_BINS): $(BUILD)/%: $(BUILD)/obj/%.o $(TEST_OBJ) $(LIBDAEMON) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS))
# Daemons without their operating system: tests/policy/wraps names the functions replaced.
$(BUILD)/tests/policy/test_policy-scenarios: $(call obj,$(sort $(wildcard tests/policy/ps_*.c)))
$(POLICY_BINS): $(BUILD)/%: $(BUILD)/obj/%.o $(call obj,$(POLICY_SRCS)) $(TEST_OBJ) $(LIBDAEMON) $(LIBIO) $(LIBPURE) tests/policy/wraps
	$(call say,LD,$@)
	$(call link,$(addprefix -Wl$(comma)--wrap=,$(shell cat tests/policy/wraps)) $(IO_LIBS) $(PURE_LIBS))
$(BENCH_BINS): $(BUILD)/%: $(BUILD)/obj/%.o $(TEST_OBJ) $(call obj,$(SIM_SRCS)) $(LIBDAEMON) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS))
$(WGLOAD): $(BUILD)/%: $(BUILD)/obj/%.o $(call obj,$(sort $(wildcard tests/bench/wgload_*.c))) $(LIBDAEMON) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS))
# Replay binaries: every target is linked with a plain main and runs its corpus in `make test`.
$(FUZZ_BINS): $(BUILD)/%: $(BUILD)/obj/%.o $(call obj,tests/fuzz/standalone_main.c) $(LIBPORTAL) $(LIBIO) $(LIBPURE)
	$(call say,LD,$@)
	$(call link,$(IO_LIBS) $(PURE_LIBS))
# Coverage-guided binaries, clang's libFuzzer; the pure sources are compiled in so that they are instrumented.
build/fuzz/%: tests/fuzz/%.c $(PURE_SRCS) $(PORTAL_LIB_SRCS) $(IO_SRCS) | $(SKELS)
	$(call say,FUZZ,$@)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) $(CPPFLAGS) -std=gnu17 -O1 -g -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
		-o $@ $< $(PURE_SRCS) $(PORTAL_LIB_SRCS) $(IO_SRCS) $(IO_LIBS) $(PURE_LIBS)

deps:
	$(Q)tools/install-deps.sh --if-missing
test: deps
	$(Q)$(MAKE) --no-print-directory tests
	$(Q)tests/run.sh $(SUITE)
bench: deps
	$(Q)$(MAKE) --no-print-directory benches >&2
	$(Q)tests/bench/run.sh $(BENCH)
record: deps
	$(Q)$(MAKE) --no-print-directory benches
	$(Q)tests/bench/record.sh $(RECORD) $(PART)
demo: deps
	$(Q)$(MAKE) --no-print-directory all
	$(Q)tools/lab/demo.sh
fuzz: deps
	$(Q)tests/fuzz/run.sh "$(TARGET)" "$(SECONDS)"
lint: $(LIBPURE)
	$(Q)tools/check/lint.sh $(LIBPURE)
format:
	$(Q)git ls-files '*.c' '*.h' | xargs $(CLANG_FORMAT) -i
clean:
	$(Q)rm -rf build

PREFIX ?= /usr
install: all
	$(Q)install -d $(DESTDIR)$(PREFIX)/bin
	$(Q)install -m 0755 $(PROGS) $(DESTDIR)$(PREFIX)/bin/

-include $(shell find build -name '*.d' 2>/dev/null)
