# The kernel under the fuzzer's programs, 64-bit: handlers of all vectors, at 0x22000. What it works on is at BLOCK (tests/support/fuzz-machine.ts).
# Faults go on at the next address of a list; INT 0x80 is a service: AL below 12 flips a page table entry, above see below.
        .set BLOCK, 0x29000
        .set COUNTS, BLOCK              # u32 by vector
        .set SUM, BLOCK + 0x400         # of error codes and fault addresses
        .set CURSOR, BLOCK + 0x408      # into the list
        .set ROOT, BLOCK + 0x40c        # which page tables
        .set ROOTS, BLOCK + 0x410       # two values of CR3
        .set CODE, BLOCK + 0x420        # CS of programs
        .set SCRATCH, BLOCK + 0x428
        .set LIST, BLOCK + 0x500        # 64 addresses
        .set FLIPS, BLOCK + 0x700       # 12 x { address of the entry, bits to flip, linear address }

        .code64
        .text
        .globl _start
_start:
        # 256 entries of 16 bytes
        .set vector, 0
        .rept 256
        .balign 16
        .if (vector == 8) || (vector == 10) || (vector == 11) || (vector == 12) || (vector == 13) || (vector == 14) || (vector == 17) || (vector == 21)
        .else
        push $0
        .endif
        push $vector
        .byte 0xe9                      # JMP rel32, always five bytes
        .long common - . - 4
        .set vector, vector + 1
        .endr

        .balign 16
common:                                 # rax rcx rdx | vector error rip cs flags rsp ss
        push %rax
        push %rcx
        push %rdx
        mov 24(%rsp), %ecx
        incl COUNTS(, %rcx, 4)
        cmp $0x80, %ecx
        je service
        cmp $1, %ecx
        je step
        cmp $32, %ecx
        jae done
        cmp $2, %ecx
        je done
        mov 32(%rsp), %rdx              # error code
        imul $-0x61c8864f, %rcx, %rax
        add %rdx, %rax
        cmp $14, %ecx
        jne 1f
        mov %cr2, %rdx
        add %rdx, %rax
1:      add %rax, SUM
        cmp $7, %ecx                    # no FPU or SSE: the operating system's turn
        jne 2f
        clts
        testl $4, SCRATCH               # CR0.EM stays: then it is a fault like others
        jz done
2:      mov CURSOR, %ecx
        incl CURSOR
        and $63, %ecx
        mov LIST(, %rcx, 8), %rax
        mov %rax, 40(%rsp)
        mov CODE, %rax
        mov %rax, 48(%rsp)
        andl $0xffbfbfff, 56(%rsp)      # NT, RF... AC stays out
        jmp done
step:   testl $15, COUNTS + 4
        jnz done
        andl $0xfffffeff, 56(%rsp)
        jmp done

service:
        movzbl 16(%rsp), %eax           # AL of the program
        and $31, %eax
        cmp $12, %eax
        jae 3f
        lea (%rax, %rax, 2), %eax
        lea FLIPS(, %rax, 8), %rax
        mov (%rax), %rcx
        mov 8(%rax), %rdx
        xor %rdx, (%rcx)
        mov 16(%rax), %rcx
        invlpg (%rcx)
        jmp done
3:      cmp $12, %eax
        jne 4f
        xorl $1, ROOT
        mov ROOT, %ecx
        mov ROOTS(, %rcx, 8), %rax
        mov %rax, %cr3
        jmp done
4:      cmp $13, %eax
        jne 5f
        mov %cr0, %rax
        or $8, %rax                     # TS
        mov %rax, %cr0
        jmp done
5:      cmp $14, %eax
        jne 6f
        mov %cr4, %rax
        xor $0x80, %rax                 # PGE
        mov %rax, %cr4
        jmp done
6:      cmp $15, %eax
        jne 7f
        mov %cr3, %rax
        mov %rax, %cr3
        jmp done
7:      cmp $16, %eax
        jne 8f
        xorl $0x100, 56(%rsp)           # TF
        jmp done
8:      cmp $17, %eax
        jne 9f
        mov %cr0, %rax
        xor $0x10000, %rax              # WP
        mov %rax, %cr0
        jmp done
9:      cmp $18, %eax
        jne done
        xorl $0x40000, 56(%rsp)         # AC
done:   pop %rdx
        pop %rcx
        pop %rax
        add $16, %rsp
        iretq

        .org 0x1200
        .globl entry                    # SYSCALL
entry:  incl COUNTS + 4 * 0x81
        sysretq
