// An option ROM that writes down what the firmware gives it, at 0xA000: as words, a record of 32 bytes each time that its initialization runs, and
// at 0xA100 what its other entries see. It has 4 blocks and keeps 1.
.code16
.globl _start
.set LOG, 0xa000
.set SEEN, 0xa100
.set HANDLE, 0x12345678
_start:
  .byte 0x55, 0xaa, 4
  .byte 0xe9
  .word init - . - 2
  .org 0x18
  .word pcir - _start, pnp - _start
  .org 0x1c
pcir:
  .ascii "PCIR"
  .word 0x1af4, 0x1041, 0, 24
  .byte 3, 0, 0, 2
  .word 4, 1
  .byte 0, 0x80
  .word 0
pnp:
  .ascii "$PnP"
  .byte 1, 2
  .word 0
  .byte 0, 0
  .long 0
  .word 0, product - _start
  .byte 2, 0, 0, 0x64
  .word bcv - _start, 0, bev - _start, 0, 0
product:
  .asciz "A ROM of ours"

// The next record: its offset in DI, with DS = 0.
init:
  pusha
  push %ds
  push %es
  mov %di, %si
  pushw $0
  pop %ds
  mov LOG, %di
  addw $32, LOG
  mov %ax, LOG + 32(%di)
  mov %bx, LOG + 34(%di)
  mov %dx, LOG + 36(%di)
  mov %es:(%si), %eax
  mov %eax, LOG + 38(%di)
  // The version of the boot specification: the entry point is in the structure at ES:SI.
  pushw %es:0x1b(%si)
  pushw %ds
  lea LOG + 42(%di), %ax
  push %ax
  pushw $0x60
  lcall *%es:0xd(%si)
  add $8, %sp
  mov %ax, LOG + 44(%di)
  // $PMM, at a paragraph of F000.
  mov $0xf000, %bx
1: inc %bx
  jz 9f
  mov %bx, %es
  cmpl $0x4d4d5024, %es:0
  jne 1b
  // 4 KB in an aligned place above 1 MB.
  pushw $6
  pushl $HANDLE
  pushl $0x100
  pushw $0
  lcall *%es:7
  add $12, %sp
  mov %ax, LOG + 46(%di)
  mov %dx, LOG + 48(%di)
  push %dx
  push %ax
  pop %ebp
  movl $0x600df00d, %ds:(%ebp)
  pushl $HANDLE
  pushw $1
  lcall *%es:7
  add $6, %sp
  mov %ax, LOG + 50(%di)
  mov %dx, LOG + 52(%di)
  // It is given back, twice.
  pushl %ebp
  pushw $2
  lcall *%es:7
  mov %ax, LOG + 54(%di)
  lcall *%es:7
  add $6, %sp
  mov %ax, LOG + 56(%di)
  // The largest block of conventional memory.
  pushw $1
  pushl $0xffffffff
  pushl $0
  pushw $0
  lcall *%es:7
  add $12, %sp
  mov %dx, LOG + 58(%di)
  // As many paragraphs as there are to have, one by one; and back.
  xor %si, %si
2: pushw $2
  pushl $0xffffffff
  pushl $1
  pushw $0
  lcall *%es:7
  add $12, %sp
  push %dx
  push %ax
  pop %eax
  test %eax, %eax
  jz 3f
  push %eax
  inc %si
  cmp $1000, %si
  jb 2b
3: mov %si, LOG + 60(%di)
4: test %si, %si
  jz 5f
  pushw $2
  lcall *%es:7
  add $6, %sp
  dec %si
  jmp 4b
5: mov %es, %cs:manager - _start
  movb $1, %cs:2
9: pop %es
  pop %ds
  popa
  mov $0x20, %ax
  lret

manager: .word 0

bcv:
  push %ds
  pushw $0
  pop %ds
  incb 0x475
  movw $int13 - _start, 0x13 * 4
  mov %cs, 0x13 * 4 + 2
  pop %ds
  lret

// A disk that holds a boot record of: mov word [SEEN], 0xb007; int 18h
int13:
  push %bp
  mov %sp, %bp
  andb $0xfe, 6(%bp)
  movl $0xa10006c7, %es:(%bx)
  movl $0x18cdb007, %es:4(%bx)
  movw $0xaa55, %es:510(%bx)
  pop %bp
  iret

// The first time it gives up; the second time the run ends.
bev:
  incw SEEN + 2
  mov %es:(%di), %eax
  mov %eax, SEEN + 4
  movw $0xdead, %cs:manager - _start
  mov %cs:manager - _start, %ax
  mov %ax, SEEN + 8
  push %ax
  pop %es
  pushl $HANDLE
  pushw $1
  mov %cs:manager - _start, %es
  lcall *%es:7
  add $6, %sp
  mov %ax, SEEN + 10
  mov %dx, SEEN + 12
  cmpw $2, SEEN + 2
  je 1f
  lret
1: mov $0x21, %al
  out %al, $0xf4
  .org 2048
