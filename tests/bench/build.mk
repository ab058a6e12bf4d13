# SPDX-License-Identifier: GPL-2.0-only
# What smp builds: sources that make-image has put beside this file.
VPATH = /bench/kvm/x86
CFLAGS = -O1 -std=gnu11 -D_GNU_SOURCE -I/bench

all: bits.o shift.o stack.o xchg.o
