# make                      build/release/hearth
# make config=NAME          release, debug, sanitize, fuzz (libFuzzer targets), ref (the definitions alone)
# make mpi                  and hearth-mpi.so beside it: training on several ranks (docs/train.md)
# make aarch64              the same, cross-built into build/aarch64-release/
# make tests | check        test programs | build and run them (./test runs everything)
config ?= release
# V=1 shows the commands
Q := $(if $(V),,@)
arch   ?= $(shell uname -m)
native := $(shell uname -m)

comma    := ,
warnings := -Wall -Wextra -Werror -Wconversion -Wshadow -Wundef -Wvla -Wstrict-prototypes -Wmissing-prototypes
# -ffp-contract=off is part of the definition of the bits: docs/arithmetic.md.
flags    := -std=c17 -D_GNU_SOURCE -ffp-contract=off -fno-math-errno -g -Isrc -Iinclude -Itests $(warnings)
harden   := -fstack-protector-strong -fPIE -D_FORTIFY_SOURCE=2
link     := -pie -Wl,-z,relro,-z,now -pthread
libs     := -lsodium -lm

flags_release  := -O2 $(harden)
flags_ref      := -O2 $(harden) -DHEARTH_REF_ONLY
flags_debug    := -O0 -fPIE
flags_sanitize := -O1 -fPIE -DHEARTH_SMALL_KERNELS -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
flags_fuzz     := $(flags_sanitize) -fsanitize=fuzzer-no-link

ifeq ($(arch),$(native))
out   := build/$(config)
cross :=
else
out   := build/$(arch)-$(config)
cross := $(arch)-linux-gnu-
link  := -static -pthread
libs  := -lm # what tests of base and kernels need; the program needs the other processor's libraries as well
static_libs := -lsodium -ledit -lbsd -lmd -ltinfo
endif
CC := $(if $(filter fuzz,$(config)),clang,$(cross)gcc)
AR := $(cross)ar
CFLAGS_ALL := $(flags) $(flags_$(config)) $(CFLAGS)
LINK_ALL   := $(if $(filter sanitize,$(config)),-fsanitize=address$(comma)undefined) $(link) $(LDFLAGS)

# A file's name says which instructions it may use; nothing else gets them.
isa_x86_64  := x86
isa_aarch64 := arm
flags_avx2   := -mavx2 -mfma -mf16c
flags_avxvnni := -mavx2 -mfma -mf16c -mavxvnni
flags_avx512 := -mavx2 -mfma -mf16c -mavx512f -mavx512bw -mavx512vl -mavx512dq -mavx512vnni -mavx512vbmi
flags_neon   := -march=armv8.2-a+dotprod+fp16
isa_flags = $(foreach isa,avx2 avxvnni avx512 neon,$(if $(filter %_$(isa).c,$1),$(flags_$(isa))))

sources := $(filter-out src/cmd/main.c,$(wildcard src/*/*.c)) \
           $(if $(filter ref,$(config)),,$(wildcard src/*/$(isa_$(arch))/*.c))
objects := $(sources:%.c=$(out)/%.o)
tests   := $(patsubst %.c,$(out)/%,$(wildcard tests/*/*.c))
helpers := $(patsubst %.c,$(out)/%,$(wildcard tests/*.c))
# A fuzz target's kernels without the undefined-behaviour sanitizer, which takes clang a minute for one of them;
# config=sanitize runs them all under both.
fuzz_flags = $(if $(and $(filter fuzz,$(config)),$(findstring src/kernels/x86/,$1)),-fno-sanitize=undefined)
fuzzers := $(patsubst %.c,$(out)/%,$(wildcard fuzz/*.c))
benches := $(patsubst %.c,$(out)/%,$(wildcard bench/*.c))

all: $(if $(filter fuzz,$(config)),fuzzers,$(out)/hearth)
tests: $(tests) $(helpers)
fuzzers: $(fuzzers)
benches: $(benches)

$(out)/hearth: $(out)/src/cmd/main.o $(out)/libhearth.a
	$(Q)echo "link $@"; $(CC) $(LINK_ALL) -o $@ $^ $(libs) $(if $(filter $(arch),$(native)),-ledit,$(static_libs))

$(out)/libhearth.a: $(objects)
	$(Q)rm -f $@; $(AR) rcs $@ $^

# Training on several ranks: loaded by the program when mpirun starts it, so nothing else needs MPI.
mpi: $(out)/hearth $(out)/hearth-mpi.so
$(out)/hearth-mpi.so: src/train/mpi/ranks_mpi.c src/train/ranks.h Makefile
	$(Q)echo "mpi  $@"; OMPI_CC=$(CC) mpicc $(CFLAGS_ALL) -fPIC -shared -o $@ $< -Wl,-z,relro,-z,now

$(out)/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(Q)echo "cc   $@"; $(CC) $(CFLAGS_ALL) $(call isa_flags,$<) $(call fuzz_flags,$<) -MMD -MP -c -o $@ $<

# Counts what takes memory: see the test.
$(out)/tests/engine/memory: LINK_ALL += $(addprefix -Wl$(comma)--wrap=,malloc calloc realloc aligned_alloc free mmap)

$(tests) $(helpers): $(out)/tests/%: $(out)/tests/%.o $(out)/libhearth.a
	$(Q)echo "link $@"; $(CC) $(LINK_ALL) -o $@ $^ $(libs)

$(benches): $(out)/bench/%: $(out)/bench/%.o $(out)/libhearth.a
	$(Q)echo "link $@"; $(CC) $(LINK_ALL) -o $@ $^ $(libs) -lm

$(fuzzers): $(out)/fuzz/%: $(out)/fuzz/%.o $(out)/libhearth.a
	$(Q)echo "link $@"; $(CC) $(flags_fuzz) -fsanitize=fuzzer $(link) -o $@ $^ $(libs)

aarch64:
	@[ $(native) = aarch64 ] || [ -e /usr/lib/aarch64-linux-gnu/libsodium.a ] || { echo "make aarch64 needs: \
	dpkg --add-architecture arm64 && apt-get update && apt-get install libsodium-dev:arm64 libedit-dev:arm64"; exit 1; }
	$(MAKE) arch=aarch64

check: tests
	@for t in $(tests); do echo "$$t"; $$t || exit 1; done

clean:
	rm -rf build

.PHONY: all mpi tests fuzzers benches aarch64 check clean
.SECONDARY:
-include $(shell find $(out) -name '*.d' 2>/dev/null)
