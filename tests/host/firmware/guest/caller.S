// A boot sector that calls interrupts: requests of 40 bytes from the sectors behind it, answers of the same shape at 0xA000.
// { u16 vector (0 ends the list), u16 ds, u16 es, u16 unused, u32 eax, ebx, ecx, edx, esi, edi, ebp, u32 unused }; an answer has the flags in front.
.code16
.globl _start
_start:
  ljmp $0, $1f
1: xor %ax, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov $0x7c00, %sp
  mov %dl, drive
  sti
  cld
  mov $0x0208, %ax
  mov $2, %cx
  xor %dh, %dh
  mov $0x8000, %bx
  int $0x13
  jc fail
next:
  mov request, %di
  mov (%di), %al
  test %al, %al
  jz done
  mov %al, vector + 1
  mov 8(%di), %eax
  mov 12(%di), %ebx
  mov 16(%di), %ecx
  mov 20(%di), %edx
  mov 24(%di), %esi
  mov 32(%di), %ebp
  pushw 4(%di)
  popw %es
  pushw 2(%di)
  mov 28(%di), %edi
  popw %ds
vector:
  int $0
  mov %edi, %cs:saved_edi
  pushfw
  popw %cs:saved_flags
  mov %ds, %cs:saved_ds
  pushw $0
  popw %ds
  mov answer, %di
  mov %eax, 8(%di)
  mov %ebx, 12(%di)
  mov %ecx, 16(%di)
  mov %edx, 20(%di)
  mov %esi, 24(%di)
  mov %ebp, 32(%di)
  mov saved_edi, %eax
  mov %eax, 28(%di)
  mov saved_flags, %ax
  mov %ax, (%di)
  mov saved_ds, %ax
  mov %ax, 2(%di)
  mov %es, 4(%di)
  cld
  addw $40, request
  addw $40, answer
  jmp next
done:
  mov $0x10, %al
  out %al, $0xf4
fail:
  mov $0x01, %al
  out %al, $0xf4
  hlt

request: .word 0x8000
answer: .word 0xa000
saved_edi: .long 0
saved_flags: .word 0
saved_ds: .word 0
drive: .byte 0

.org 510
  .word 0xaa55
