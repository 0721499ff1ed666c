// Real mode: copied to 0x10000 and entered through 16-bit protected mode by system32.c. One line of hexadecimal words a case.
.section .rodata
.globl real_start, real_end
.code16
real_start:
  mov %cr0, %eax
  and $0x7ffffffe, %eax
  mov %eax, %cr0
  ljmp $0x1000, $(1f - real_start)
1: mov %cs, %ax
  mov %ax, %ds
  mov %ax, %es
  mov %ax, %ss
  mov $0xf000, %esp
  xor %ax, %ax
  mov %ax, %fs
  // vectors: 0x60 counts, the exceptions skip two bytes
  movw $(service - real_start), %fs:0x180
  movw %cs, %fs:0x182
  movw $(divide - real_start), %fs:0
  movw %cs, %fs:2
  movw $(overflow - real_start), %fs:16
  movw %cs, %fs:18
  movw $(range - real_start), %fs:20
  movw %cs, %fs:22
  movw $(undefined - real_start), %fs:24
  movw %cs, %fs:26
  push %cs
  pop %gs

  pushw $0x0ad7
  popfw
  int $0x60
  pushfw
  pop %ax
  call word
  mov %sp, %ax
  call word
  call newline

  mov $0x1111, %eax
  mov $0x2222, %ecx
  mov $0x3333, %edx
  mov $0x4444, %ebx
  mov $0x5555, %ebp
  mov $0x6666, %esi
  mov $0x7777, %edi
  pusha
  pop %ax
  call word
  add $4, %sp
  pop %ax
  call word
  sub $8, %sp
  popa
  add %di, %ax
  add %bx, %ax
  call word
  mov %sp, %ax
  call word
  call newline

  mov $0x5000, %bp
  movw $0xabcd, -2(%bp)
  enter $8, $2
  mov %sp, %ax
  call word
  mov %bp, %ax
  call word
  mov 8(%esp), %ax
  call word
  leave
  mov %bp, %ax
  call word
  mov %sp, %ax
  call word
  call newline

  pushw $0x1234
  pushw $0x5678
  lcall $0x1000, $(callee - real_start)
  mov %sp, %ax
  call word
  call newline

  xor %cx, %cx
  div %cx
  ud2
  .byte 0x0f, 0x00 // sldt %ax and a nop to skip into
  .byte 0xc0, 0x90
  sub %ax, %ax
  .byte 0x0f, 0x02, 0xc0, 0x90 // lar %ax, %ax
  mov $0x7fff, %ax
  inc %ax
  into
  mov $9, %ax
  bound %ax, (pair - real_start)
  nop
  nop
  call newline

  mov $0x100000, %edi
  mov %fs:(%edi), %eax
  call word
  shr $16, %eax
  call word
  pushl $0x00247ed7
  popfl
  pushfl
  pop %eax
  call word
  shr $16, %eax
  and $0x24, %ax // VIP is left from virtual-8086 mode
  call word
  pushl $2
  popfl
  smsw %ax
  call word
  push %sp
  pop %ax
  call word
  push $-3
  pop %ax
  call word
  call newline

  mov $0x30003, %ecx
2: loop 2b
  mov %cx, %ax
  call word
  mov %ecx, %eax
  shr $16, %eax
  call word
  jcxz 3f
  ud2
3: mov $0x10004, %ecx
  mov $0xfffe, %di
  cld
  lea (pair - real_start), %si
  mov $0x6000, %di
  rep movsb
  mov %ecx, %eax
  shr $16, %eax
  call word
  mov %di, %ax
  call word
  lds (pointer - real_start), %si
  mov %ds, %ax
  call word
  mov %si, %ax
  call word
  mov %cs, %ax
  mov %ax, %ds
  pushfl
  pushl $0x1000
  pushl $(4f - real_start)
  iretl
4: mov %sp, %ax
  call word
  lcallw *(target - real_start)
  lcalll *(target32 - real_start)
  mov %sp, %ax
  call word
  call newline
  mov $0xf4, %dx
  mov $0, %al
  out %al, %dx
  cli
  hlt

service:
  push %bp
  mov %sp, %bp
  mov 2(%bp), %ax
  call word
  mov 4(%bp), %ax
  call word
  mov 6(%bp), %ax
  call word
  pushfw
  pop %ax
  call word
  pop %bp
  iretw

divide: mov $0xd0, %ax
  jmp skip
overflow: mov $0xd4, %ax
  call word
  iretw
range: mov $0xd5, %ax
  jmp skip4
undefined: mov $0xd6, %ax
skip:
  call word
  mov %sp, %bp
  mov (%bp), %ax
  call word
  mov (%bp), %bx
  addw $2, (%bp)
  cmpb $0, %cs:1(%bx)
  je 1f
  cmpb $2, %cs:1(%bx)
  jne 2f
1: addw $2, (%bp)
2: iretw
skip4:
  call word
  mov %sp, %bp
  addw $4, (%bp)
  iretw

callee:
  mov %sp, %bp
  mov 4(%bp), %ax
  call word
  mov 6(%bp), %ax
  call word
  lretw $4
far16: lretw
far32: lretl

word:
  push %ax
  push %cx
  push %dx
  mov $4, %cx
  mov $0xe9, %dx
1: rol $4, %ax
  push %ax
  and $15, %al
  cmp $10, %al
  jb 2f
  add $39, %al
2: add $48, %al
  out %al, %dx
  pop %ax
  dec %cx
  jnz 1b
  mov $32, %al
  out %al, %dx
  pop %dx
  pop %cx
  pop %ax
  ret
newline:
  mov $10, %al
  mov $0xe9, %dx
  out %al, %dx
  ret
pair: .word 1, 5
pointer: .word 0x4321, 0x1357
target: .word far16 - real_start, 0x1000
target32: .long far32 - real_start
  .word 0x1000
real_end:
.code32
