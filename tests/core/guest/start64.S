// Entry through 32-bit mode, trap stubs and privilege changes of the 64-bit system test.
.section .multiboot, "a"
.align 4
.long 0x1badb002, 0, -0x1badb002
.text
.code32
.globl start
start:
  mov $stack_top, %esp
  // the first 4 GiB in 2 MiB pages, for everybody
  mov $pml4, %edi
  movl $pdpt + 7, (%edi)
  mov $pdpt, %edi
  mov $pd + 7, %eax
  mov $4, %ecx
1: mov %eax, (%edi)
  add $8, %edi
  add $4096, %eax
  loop 1b
  mov $pd, %edi
  mov $0xe7, %eax
  mov $2048, %ecx
1: mov %eax, (%edi)
  add $8, %edi
  add $0x200000, %eax
  loop 1b
  mov $pml4, %eax
  mov %eax, %cr3
  mov %cr4, %eax
  or $0x20, %eax
  mov %eax, %cr4
  mov $0xc0000080, %ecx
  rdmsr
  or $0x101, %eax
  wrmsr
  mov %cr0, %eax
  or $0x80000000, %eax
  mov %eax, %cr0
  lgdt early
  ljmp $8, $2f
.align 8
early: .word 15
  .long early_gdt
.align 8
early_gdt: .quad 0, 0x00af9b000000ffff
.code64
2: mov $0, %eax
  mov %eax, %ss
  call main
1: cli
  hlt
  jmp 1b

.align 16
.globl stubs, attempt, resume, ring3, gate_target, compat_code, syscall_entry, sysenter_entry
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
  push %rax
  push %rcx
  push %rdx
  push %rsi
  push %rdi
  push %r11
  mov %rsp, %rdi
  and $~15, %rsp
  call trap
  mov %rax, %rsp
  pop %r11
  pop %rdi
  pop %rsi
  pop %rdx
  pop %rcx
  pop %rax
  add $16, %rsp
  iretq

attempt:
  push %rbx
  push %rbp
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, saved_sp
  call *%rdi
  xor %eax, %eax
  jmp 2f
resume:
  mov $1, %eax
2:
  mov $0x10, %ecx
  mov %ecx, %ss
  mov saved_sp, %rsp
  mov %ecx, %ds
  mov %ecx, %es
  cld
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbp
  pop %rbx
  ret

ring3:
  pushq $0x23
  pushq $user_top
  pushq user_flags
  pushq $0x33
  pushq $3f
  iretq
3: call *user_fn
  int $0x40

gate_target:
  mov %rsp, gate_rsp
  mov %cs, %eax
  mov %eax, gate_cs
  mov %ss, %eax
  mov %eax, gate_ss
  lretq

syscall_entry:
  mov %rcx, seen
  mov %r11, seen + 8
  pushfq
  pop seen + 16
  mov %cs, %eax
  mov %eax, seen + 24
  mov %ss, %eax
  mov %eax, seen + 32
  cmpq $0, return_rex
  je 1f
  sysretq
1: sysretl

sysenter_entry:
  mov %rsp, seen
  pushfq
  pop seen + 16
  mov %cs, %eax
  mov %eax, seen + 24
  mov %ss, %eax
  mov %eax, seen + 32
  mov $user_top, %rcx
  mov return_to, %rdx
  cmpq $0, return_rex
  je 1f
  sysexitq
1: sysexitl

.code32
compat_code:
  mov %cs, %eax
  mov %eax, seen
  pushl $0x12345678
  pop seen + 8
  mov %esp, seen + 16
  int $0x41
  int $0x40
.code64

.bss
.align 4096
pml4: .space 4096
pdpt: .space 4096
pd: .space 16384
.globl saved_sp, user_top, gate_rsp, gate_cs, gate_ss, seen, return_rex, return_to
saved_sp: .space 8
gate_rsp: .space 8
gate_cs: .space 8
gate_ss: .space 8
seen: .space 64
return_rex: .space 8
return_to: .space 8
.align 16
.space 16384
stack_top:
.space 8192
user_top:
