// Entry, trap stubs and privilege changes of the 32-bit system test.
.section .multiboot, "a"
.align 4
.long 0x1badb002, 0, -0x1badb002
.text
.globl start, stubs, attempt, resume, ring3, gate_target
start:
  mov $stack_top, %esp
  call main
1: cli
  hlt
  jmp 1b

// 256 stubs of 16 bytes; vectors with an error code have it below the vector number
.align 16
stubs:
.set n, 0
.rept 256
  .align 16
  .if (n == 8) || ((n >= 10) && (n <= 14)) || (n == 17)
  .else
  push $0
  .endif
  push $n
  jmp common
  .set n, n + 1
.endr

common:
  pusha
  mov %esp, %eax
  mov $0x10, %ecx
  mov %ecx, %ds
  mov %ecx, %es
  push %eax
  call trap
  add $4, %esp
  popa
  add $8, %esp
  iret

// int attempt(void (*f)(void)): 0 when f returned, 1 after resume
attempt:
  push %ebx
  push %esi
  push %edi
  push %ebp
  mov %esp, saved_sp
  mov 20(%esp), %eax
  call *%eax
  xor %eax, %eax
  jmp 2f
resume:
  mov $0x10, %eax
  mov %eax, %ss
  mov saved_sp, %esp
  mov $1, %eax
2:
  mov $0x10, %ecx
  mov %ecx, %ds
  mov %ecx, %es
  xor %ecx, %ecx
  mov %ecx, %fs
  mov %ecx, %gs
  cld
  pop %ebp
  pop %edi
  pop %esi
  pop %ebx
  ret

// void ring3(void): f in user_fn at level 3 with user_flags; it ends with int 0x40
ring3:
  mov user_fn, %edx
  pushl $0x23
  pushl $user_top
  pushl user_flags
  pushl $0x1b
  pushl $3f
  mov $0x23, %eax
  mov %eax, %ds
  mov %eax, %es
  iret
3: call *%edx
  int $0x40

gate_target:
  mov %esp, gate_esp
  mov %cs, %eax
  mov %eax, gate_cs
  lret $8

.bss
.align 16
.globl saved_sp, user_top, user_stack, gate_esp, gate_cs
saved_sp: .space 4
gate_esp: .space 4
gate_cs: .space 4
.space 16384
stack_top:
user_stack:
.space 8192
user_top:
