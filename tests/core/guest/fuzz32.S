# The kernel under the fuzzer's programs, 32-bit: see fuzz64.S.
        .set BLOCK, 0x29000
        .set COUNTS, BLOCK
        .set SUM, BLOCK + 0x400
        .set CURSOR, BLOCK + 0x408
        .set ROOT, BLOCK + 0x40c
        .set ROOTS, BLOCK + 0x410
        .set CODE, BLOCK + 0x420
        .set SCRATCH, BLOCK + 0x428
        .set LIST, BLOCK + 0x500
        .set FLIPS, BLOCK + 0x700

        .code32
        .text
        .globl _start
_start:
        .set vector, 0
        .rept 256
        .balign 16
        .if (vector == 8) || (vector == 10) || (vector == 11) || (vector == 12) || (vector == 13) || (vector == 14) || (vector == 17) || (vector == 21)
        .else
        push $0
        .endif
        push $vector
        .byte 0xe9
        .long common - . - 4
        .set vector, vector + 1
        .endr

        .balign 16
common:                                 # eax ecx edx ds | vector error eip cs flags esp ss
        push %eax
        push %ecx
        push %edx
        push %ds
        mov $0x10, %eax
        mov %eax, %ds
        mov 16(%esp), %ecx
        incl COUNTS(, %ecx, 4)
        cmp $0x80, %ecx
        je service
        cmp $1, %ecx
        je step
        cmp $32, %ecx
        jae done
        cmp $2, %ecx
        je done
        mov 20(%esp), %edx
        imul $0x9e3779b1, %ecx, %eax
        add %edx, %eax
        cmp $14, %ecx
        jne 1f
        mov %cr2, %edx
        add %edx, %eax
1:      add %eax, SUM
        cmp $7, %ecx
        jne 2f
        clts
        testl $4, SCRATCH
        jz done
2:      mov CURSOR, %ecx
        incl CURSOR
        and $63, %ecx
        mov LIST(, %ecx, 8), %eax
        mov %eax, 24(%esp)
        mov CODE, %eax
        mov %eax, 28(%esp)
        andl $0xffbfbfff, 32(%esp)
        jmp done
step:   testl $15, COUNTS + 4
        jnz done
        andl $0xfffffeff, 32(%esp)
        jmp done

service:
        movzbl 12(%esp), %eax
        and $31, %eax
        cmp $12, %eax
        jae 3f
        lea (%eax, %eax, 2), %eax
        lea FLIPS(, %eax, 8), %eax
        mov (%eax), %ecx
        mov 8(%eax), %edx
        xor %edx, (%ecx)
        mov 12(%eax), %edx
        xor %edx, 4(%ecx)
        mov 16(%eax), %ecx
        invlpg (%ecx)
        jmp done
3:      cmp $12, %eax
        jne 4f
        xorl $1, ROOT
        mov ROOT, %ecx
        mov ROOTS(, %ecx, 8), %eax
        mov %eax, %cr3
        jmp done
4:      cmp $13, %eax
        jne 5f
        mov %cr0, %eax
        or $8, %eax
        mov %eax, %cr0
        jmp done
5:      cmp $14, %eax
        jne 6f
        mov %cr4, %eax
        xor $0x80, %eax
        mov %eax, %cr4
        jmp done
6:      cmp $15, %eax
        jne 7f
        mov %cr3, %eax
        mov %eax, %cr3
        jmp done
7:      cmp $16, %eax
        jne 8f
        xorl $0x100, 32(%esp)
        jmp done
8:      cmp $17, %eax
        jne 9f
        mov %cr0, %eax
        xor $0x10000, %eax
        mov %eax, %cr0
        jmp done
9:      cmp $18, %eax
        jne done
        xorl $0x40000, 32(%esp)
done:   pop %ds
        pop %edx
        pop %ecx
        pop %eax
        add $8, %esp
        iret
