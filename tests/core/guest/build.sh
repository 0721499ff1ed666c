#!/bin/sh
# Rebuilds the guests of system.test.ts into ../fixtures. Their addresses are in the expected texts: look at both, then run the test with
# VMLET_UPDATE=1 to write the texts anew.
set -e
cd "$(dirname "$0")"
FLAGS="-O1 -ffreestanding -fno-pic -fno-stack-protector -fno-asynchronous-unwind-tables -nostdlib -static -Wl,-T,link.ld -Wl,--build-id=none -Wl,-z,max-page-size=4096"
gcc -m32 $FLAGS -Wl,-m,elf_i386 -o ../fixtures/system32.elf start32.S real16.S system32.c
gcc -m64 -mno-red-zone -mgeneral-regs-only $FLAGS -o ../fixtures/system64.tmp start64.S system64.c
objcopy -S ../fixtures/system32.elf
objcopy -S -O elf32-i386 ../fixtures/system64.tmp ../fixtures/system64.elf
rm ../fixtures/system64.tmp
chmod -x ../fixtures/*.elf
# The kernels of the fuzzer: flat, at 0x22000.
for bits in 32 64; do
  gcc -m$bits -c -Wa,--noexecstack -o ../fixtures/fuzz.o fuzz$bits.S
  ld -m elf_$([ $bits = 32 ] && echo i386 || echo x86_64) -Ttext=0x22000 -o ../fixtures/fuzz.tmp ../fixtures/fuzz.o
  objcopy -O binary -j .text ../fixtures/fuzz.tmp ../fixtures/fuzz$bits.bin
done
rm ../fixtures/fuzz.o ../fixtures/fuzz.tmp
