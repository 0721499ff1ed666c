// System behaviour in 32-bit protected and virtual-8086 mode, printed on port 0xe9. Lines with ! need more than the reference emulator has.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long long u64;

extern u8 stubs[], user_stack[], user_top[];
extern u32 gate_esp, gate_cs, saved_sp;
int attempt(void (*f)(void));
void resume(void);
void ring3(void);
void gate_target(void);

static inline void outb(u16 port, u8 v) { asm volatile("outb %0,%1" ::"a"(v), "d"(port)); }
static void put(char c) { outb(0xe9, c); }
static void text(const char *s) { while (*s) put(*s++); }
static void hex(u32 v, int digits) { while (digits--) put("0123456789abcdef"[(v >> (digits * 4)) & 15]); }
static void item(const char *name, u32 v) { text(" "); text(name); text("="); hex(v, v > 0xffff ? 8 : 4); }
static void line(void) { put('\n'); }

struct frame { u32 edi, esi, ebp, esp, ebx, edx, ecx, eax, vector, code, eip, cs, flags, usp, uss; };
static struct frame last;
static int trapped, keep_going;
static u32 traps;
u32 user_flags = 2;
void (*user_fn)(void);

void trap(struct frame *f) {
  last = *f;
  trapped = 1;
  traps++;
  if (keep_going) {
    u32 d;
    asm volatile("mov %%dr6,%0" : "=r"(d));
    text(" trap"); hex(f->vector, 2); item("eip", f->eip); item("fl", f->flags & 0xeffff); item("dr6", d);
    asm volatile("mov %0,%%dr6" ::"r"(0));
    keep_going--;
    if (keep_going == 0) f->flags &= ~0x100;
    if (f->vector == 1) f->flags |= 0x10000;
    return;
  }
  asm volatile("pushl $2; popf; jmp resume");
}

#define DESC(base, limit, access, flags) ((u64)((limit) & 0xffff) | ((u64)((base) & 0xffffff) << 16) | ((u64)(access) << 40) | ((u64)(((limit) >> 16) & 15) << 48) | ((u64)(flags) << 52) | ((u64)((u32)(base) >> 24) << 56))
static u64 gate(u32 sel, u32 off, u32 type, u32 count) { return (off & 0xffff) | ((u64)sel << 16) | ((u64)count << 32) | ((u64)type << 40) | ((u64)(off >> 16) << 48); }

static u64 gdt[80] __attribute__((aligned(16)));
static u64 ldt[4] __attribute__((aligned(16)));
static u64 idt[256] __attribute__((aligned(16)));
static u32 tss[26 + 64] __attribute__((aligned(128)));
static u32 tss2[26] __attribute__((aligned(128)));
static u16 tss16[22] __attribute__((aligned(128)));
static u8 task_stack[4096] __attribute__((aligned(16)));
static u32 directory[1024] __attribute__((aligned(4096)));
static int count;
static int tcg; // the reference that lacks some checks; lines that it cannot give begin with !

static void fill(void) {
  int n = 1;
  gdt[n++] = DESC(0, 0xfffff, 0x9b, 12); // 08 kernel code
  gdt[n++] = DESC(0, 0xfffff, 0x93, 12); // 10 kernel data
  gdt[n++] = DESC(0, 0xfffff, 0xfb, 12); // 18 user code
  gdt[n++] = DESC(0, 0xfffff, 0xf3, 12); // 20 user data
  gdt[n++] = DESC((u32)tss, sizeof tss - 1, 0x89, 0); // 28 TSS in use
  gdt[n++] = DESC((u32)ldt, sizeof ldt - 1, 0x82, 0); // 30
  gdt[n++] = DESC((u32)tss2, 103, 0x89, 0); // 38 second task
  gdt[n++] = DESC((u32)tss16, 43, 0x81, 0); // 40 16-bit task
  gdt[n++] = DESC(0, 0xfffff, 0x91, 12); // 48 read-only data
  gdt[n++] = DESC(0, 0xfff, 0x97, 4); // 50 expand-down
  gdt[n++] = DESC(0, 0xfffff, 0x99, 12); // 58 execute-only
  gdt[n++] = DESC(0, 0xfffff, 0x9f, 12); // 60 conforming, DPL 0
  gdt[n++] = DESC(0, 0xfffff, 0xff, 12); // 68 conforming, DPL 3
  gdt[n++] = DESC(0, 0xfffff, 0x13, 12); // 70 data, not present
  gdt[n++] = DESC(0, 0xfffff, 0x1b, 12); // 78 code, not present
  gdt[n++] = DESC(0, 0xfffff, 0xb3, 12); // 80 data, DPL 1
  gdt[n++] = DESC(0, 0xfffff, 0xbb, 12); // 88 code, DPL 1
  gdt[n++] = DESC(0, 0xfffff, 0xd3, 12); // 90 data, DPL 2
  gdt[n++] = DESC(0x10000, 0xffff, 0x93, 0); // 98 16-bit data
  gdt[n++] = DESC(0x10000, 0xffff, 0x9b, 0); // a0 16-bit code
  gdt[n++] = gate(8, (u32)gate_target, 0xec, 2); // a8 call gate, DPL 3
  gdt[n++] = gate(8, (u32)gate_target, 0x8c, 2); // b0 call gate, DPL 0
  gdt[n++] = gate(8, (u32)gate_target, 0x6c, 2); // b8 call gate, not present
  gdt[n++] = gate(0x10, (u32)gate_target, 0xec, 2); // c0 call gate to data
  gdt[n++] = gate(0, (u32)gate_target, 0xec, 2); // c8 call gate to null
  gdt[n++] = gate(0x3f8, (u32)gate_target, 0xec, 2); // d0 call gate beyond the table
  gdt[n++] = gate(0x78, (u32)gate_target, 0xec, 2); // d8 call gate to absent code
  gdt[n++] = DESC((u32)tss2, 103, 0x09, 0); // e0 TSS, not present
  gdt[n++] = DESC((u32)tss2, 102, 0x89, 0); // e8 TSS, short
  gdt[n++] = DESC((u32)tss2, 103, 0x8b, 0); // f0 TSS, busy
  gdt[n++] = gate(0x28, 0, 0xe5, 0); // f8 task gate to the busy TSS
  gdt[n++] = gate(0x10, 0, 0xe5, 0); // 100 task gate to data
  gdt[n++] = DESC(0, 0, 0x80, 0); // 108 type 0
  gdt[n++] = DESC(0, 0, 0x88, 0); // 110 type 8
  gdt[n++] = gate(8, 0, 0x8e, 0); // 118 interrupt gate in the GDT
  gdt[n++] = gate(8, (u32)gate_target, 0xe6, 0); // 120 16-bit interrupt gate
  gdt[n++] = DESC(0, 0xfffff, 0xf2, 12); // 128 user data, not accessed
  gdt[n++] = DESC(0, 0x10, 0x9b, 4); // 130 short code
  gdt[n++] = DESC(0, 0xfffff, 0x02, 12); // 138 LDT, not present
  ldt[1] = DESC(0, 0xfffff, 0xf3, 12);
  ldt[2] = DESC(0, 0xfffff, 0x93, 12);
  count = n;
}

static u32 sel;
static u32 far[2];
static void load_ds(void) { asm volatile("mov %0,%%ds" ::"r"(sel)); }
static void load_fs(void) { asm volatile("mov %0,%%fs" ::"r"(sel)); }
static void load_ss(void) { asm volatile("mov %%ss,%%ecx; mov %0,%%ss; mov %%ecx,%%ss" ::"a"(sel) : "ecx"); }
static void pop_es(void) { asm volatile("push %0; pop %%es" ::"a"(sel)); }
static void do_lldt(void) { asm volatile("lldt %w0" ::"r"(sel)); }
static void do_ltr(void) { asm volatile("ltr %w0" ::"r"(sel)); }
static void jmp_there(void) { asm volatile("movl $1f,%0; mov %2,%1; ljmp *%0; 1:" : "=m"(far[0]), "=m"(far[1]) : "r"(sel)); }
static void call_there(void) { asm volatile("movl $1f,%0; mov %2,%1; pushl $0x1234; pushl $0x5678; lcall *%0; jmp 2f; 1: add $16,%%esp; 2:" : "=m"(far[0]), "=m"(far[1]) : "r"(sel) : "eax"); }
static void ret_there(void) { asm volatile("push %0; push $1f; lret; 1:" ::"r"(sel)); }
static void iret_there(void) { asm volatile("pushf; push %0; push $1f; iret; 1:" ::"r"(sel)); }

static const char *const names[] = {"ds", "fs", "ss", "es", "jmp", "call", "ret", "iret"};
static void (*const loads[])(void) = {load_ds, load_fs, load_ss, pop_es, jmp_there, call_there, ret_there, iret_there};

static void report(void) {
  if (!trapped) text("-");
  else { hex(last.vector, 2); put(':'); hex(last.code, 4); }
}
static void restore(void) {
  asm volatile("ljmp $8,$1f; 1:" ::: "memory");
}

static void run(void (*f)(void), int user) {
  trapped = 0;
  user_fn = f;
  int back = attempt(user ? ring3 : f);
  if (back && last.vector == 0x40) trapped = 0;
  restore();
}

static void query(void) {
  u32 v = 0x55555555, z;
  asm volatile("lar %2,%0; setz %b1" : "+r"(v), "=q"(z) : "r"(sel));
  text(" lar"); hex(z & 1, 1); hex(v, 8);
  v = 0x55555555;
  asm volatile("lsl %2,%0; setz %b1" : "+r"(v), "=q"(z) : "r"(sel));
  text(" lsl"); hex(z & 1, 1); hex(v, 8);
  asm volatile("verr %w1; setz %b0" : "=q"(z) : "r"(sel));
  text(" verr"); hex(z & 1, 1);
  asm volatile("verw %w1; setz %b0" : "=q"(z) : "r"(sel));
  text(" verw"); hex(z & 1, 1);
}

static void descriptors(void) {
  text("descriptors\n");
  for (int n = 0; n <= count + 1; n++) {
    for (int rpl = 0; rpl < 4; rpl += 3) {
      for (int user = 0; user < 2; user++) {
        sel = n * 8 + rpl;
        hex(sel, 4);
        put(user ? 'u' : 'k');
        for (unsigned k = 0; k < sizeof loads / sizeof *loads; k++) {
          if (k >= 4 && (n == 7 || n == 8 || n == 20 || n == 38)) continue; // tasks come later
          put(' '); text(names[k]); put(' ');
          run(loads[k], user);
          report();
        }
        run(query, user);
        line();
      }
    }
  }
  for (int n = 0; n < 4; n++) {
    sel = n * 8 + 7;
    hex(sel, 4);
    for (unsigned k = 0; k < 4; k++) { put(' '); run(loads[k], 1); report(); }
    line();
  }
  text("accessed "); hex(gdt[37] >> 40, 2); line();
}

static void system_loads(void) {
  text("lldt ltr\n");
  for (int n = 0; n <= count + 1; n++) {
    sel = n * 8;
    hex(sel, 4);
    if (n != 6) { text(" lldt "); run(do_lldt, 0); report(); }
    if (n != 5 && n != 7 && n != 8) { text(" ltr "); run(do_ltr, 0); report(); }
    line();
  }
  fill();
  asm volatile("ltr %w0; lldt %w1" ::"r"(0x28), "r"(0x30));
}

static u32 seen[4];
static void through_gate(void) { asm volatile("pushl $0x1111; pushl $0x2222; lcall *%0; mov %%esp,%1" ::"m"(far), "m"(seen[0])); }
static void gates(void) {
  text("call gate\n");
  far[0] = 0;
  far[1] = 0xab;
  run(through_gate, 1);
  report();
  u32 *s = (u32 *)gate_esp;
  item("cs", gate_cs); item("off", tss[1] - gate_esp); item("p1", s[2]); item("p2", s[3]); item("ss", s[5]); item("retcs", s[1]);
  line();
  far[1] = 0xa8;
  run(through_gate, 0);
  report(); item("cs", gate_cs);
  line();
}

static u32 given, got;
static void popf_(void) { asm volatile("push %1; popf; pushf; pop %0; pushl $2; popf" : "=r"(got) : "r"(given)); }
static void iretf_(void) { asm volatile("push %1; mov %%cs,%%eax; push %%eax; push $1f; iret; 1: pushf; pop %0; pushl $2; popf" : "=r"(got) : "r"(given) : "eax"); }
static void flags(void) {
  text("flags\n");
  static const u32 values[] = {0, 0x27ffff & ~0x124100, 0x3000, 0x200, 0x7000, 0x40000, 0x200000, 0x10000, 0x8ffu & ~0x100};
  void (*const f[])(void) = {popf_, iretf_};
  for (unsigned n = 0; n < sizeof values / sizeof *values; n++)
    for (int user = 0; user < 2; user++)
      for (int iopl = 0; iopl < 4; iopl += 3)
        for (int k = 0; k < 2; k++) {
          if (!user && (values[n] & 0x4000)) continue;
          given = values[n] & (k ? ~0x4000 : ~0);
          got = 0;
          user_flags = 2 | iopl << 12;
          run(f[k], user);
          hex(given, 6); put(user ? 'u' : 'k'); hex(iopl, 1); put(k ? 'i' : 'p'); put(' '); hex(got, 6); put(' '); report();
          line();
        }
  user_flags = 2;
}

static void do_cli(void) { asm volatile("cli"); }
static void do_sti(void) { asm volatile("sti; cli"); }
static void do_hlt(void) { asm volatile("hlt"); }
static void do_in(void) { asm volatile("inb $0x92,%%al" ::: "eax"); }
static void do_in4(void) { asm volatile("mov $0x71,%%dx; in %%dx,%%eax" ::: "eax", "edx"); }
static void do_int3(void) { asm volatile("int3"); }
static void do_int41(void) { asm volatile("int $0x41"); }
static void do_int42(void) { asm volatile("int $0x42"); }
static void do_int43(void) { asm volatile("int $0x43"); }
static void do_int44(void) { asm volatile("int $0x44"); }
static void do_int45(void) { asm volatile("int $0x45"); }
static void do_int46(void) { asm volatile("int $0x46"); }
static void do_int47(void) { asm volatile("int $0x47"); }
static void do_into(void) { asm volatile("mov $0x7fffffff,%%eax; inc %%eax; into" ::: "eax"); }
static void do_bound(void) { static int pair[2] = {1, 5}; asm volatile("bound %0,%1" ::"r"(7), "m"(pair)); }
static void do_ud2(void) { asm volatile("ud2"); }
static void do_div(void) { asm volatile("xor %%ecx,%%ecx; div %%ecx" ::: "eax", "ecx", "edx"); }
static void do_lgdt(void) { static u16 z[3]; asm volatile("sgdt %0; lgdt %0" : "+m"(z)); }
static void do_cr0(void) { asm volatile("mov %%cr0,%%eax; mov %%eax,%%cr0" ::: "eax"); }
static void do_dr7(void) { asm volatile("mov %%dr7,%%eax" ::: "eax"); }
static void do_rdmsr(void) { asm volatile("mov $0x10,%%ecx; rdmsr" ::: "eax", "ecx", "edx"); }
static void do_badmsr(void) { asm volatile("mov $0x12345,%%ecx; rdmsr" ::: "eax", "ecx", "edx"); }
static void do_clts(void) { asm volatile("clts"); }
static void do_invlpg(void) { asm volatile("invlpg 0"); }
static void do_wbinvd(void) { asm volatile("wbinvd"); }
static void do_lmsw(void) { asm volatile("smsw %%ax; lmsw %%ax" ::: "eax"); }
static void do_sysexit(void) { asm volatile("sysexit"); }
static void do_arpl(void) { u32 d = 0x18, z; asm volatile("arpl %w2,%w0; setz %b1" : "+r"(d), "=q"(z) : "r"(3)); item("arpl", d); item("z", z & 1); }
static void do_int20(void) { asm volatile("mov $0x10,%%eax; mov %%eax,%%ds" ::: "eax"); }
static void do_esp(void) { asm volatile("mov %%esp,%%ecx; xor %%esp,%%esp; sub $0x7ffffff0,%%esp; mov %%ecx,%%esp" ::: "ecx"); }

#define ROW(f) {#f, f}
static const struct { const char *name; void (*f)(void); } privileged[] = {
  ROW(do_cli), ROW(do_sti), ROW(do_in), ROW(do_in4), ROW(do_int3), ROW(do_int41), ROW(do_int42), ROW(do_int43), ROW(do_int44), ROW(do_int45), ROW(do_int46),
  ROW(do_int47), ROW(do_into), ROW(do_bound), ROW(do_ud2), ROW(do_div), ROW(do_lgdt), ROW(do_cr0), ROW(do_dr7), ROW(do_rdmsr), ROW(do_badmsr), ROW(do_clts),
  ROW(do_invlpg), ROW(do_wbinvd), ROW(do_lmsw), ROW(do_sysexit), ROW(do_arpl), ROW(do_int20), ROW(do_esp),
};

static void privileges(void) {
  text("privileges\n");
  idt[0x41] = gate(8, (u32)stubs + 0x41 * 16, 0x8e, 0); // DPL 0
  idt[0x42] = gate(8, (u32)stubs + 0x42 * 16, 0x6e, 0); // not present
  idt[0x43] = gate(0x10, (u32)stubs + 0x43 * 16, 0xee, 0); // to data
  idt[0x44] = gate(0, (u32)stubs + 0x44 * 16, 0xee, 0); // to null
  idt[0x45] = gate(0x78, (u32)stubs + 0x45 * 16, 0xee, 0); // to absent code
  idt[0x46] = gate(8, (u32)stubs + 0x46 * 16, 0xec, 0); // not an interrupt gate
  idt[0x47] = gate(0x18, (u32)stubs + 0x47 * 16, 0xee, 0); // to user code
  for (int user = 0; user < 2; user++)
    for (int iopl = 0; iopl < 4; iopl += 3)
      for (unsigned n = 0; n < sizeof privileged / sizeof *privileged; n++) {
        if (!user && privileged[n].f == do_sysexit) continue;
        if (privileged[n].f == do_badmsr) {
          if (tcg) continue;
          text("! ");
        }
        user_flags = 2 | iopl << 12;
        text(privileged[n].name); put(user ? 'u' : 'k'); hex(iopl, 1); put(' ');
        run(privileged[n].f, user);
        report(); 
        if (trapped) { item("eip", last.eip); item("cs", last.cs); item("fl", last.flags & 0xeffff); }
        line();
      }
  user_flags = 2;
}

static u32 cr_value;
static void set_cr0(void) { asm volatile("mov %0,%%cr0" ::"r"(cr_value)); }
static void set_cr4(void) { asm volatile("mov %0,%%cr4" ::"r"(cr_value)); }
static void set_dr6(void) { asm volatile("mov %1,%%dr6; mov %%dr6,%0" : "=r"(got) : "r"(cr_value)); }
static void set_dr7(void) { asm volatile("mov %1,%%dr7; mov %%dr7,%0" : "=r"(got) : "r"(cr_value)); }
static void cr(void) {
  text("control registers\n");
  u32 cr0, cr4;
  asm volatile("mov %%cr0,%0" : "=r"(cr0));
  asm volatile("mov %%cr4,%0" : "=r"(cr4));
  static const u32 bits0[] = {0x20000000, 0x2, 0x8, 0x20, 0x10000, 0x40000, 0x40};
  for (unsigned n = 0; n < sizeof bits0 / sizeof *bits0; n++) {
    if (tcg && (bits0[n] & 0x20000040)) continue;
    if (bits0[n] & 0x20000040) text("! ");
    cr_value = (cr0 & ~0x60000000) | bits0[n];
    run(set_cr0, 0);
    u32 now;
    asm volatile("mov %%cr0,%0" : "=r"(now));
    hex(bits0[n], 8); put(' '); report(); item("cr0", now & ~0x10);
    line();
    asm volatile("mov %0,%%cr0" ::"r"(cr0));
  }
  if (!tcg) {
    cr_value = 0x80000000;
    run(set_cr0, 0);
    text("! pg without pe "); report(); line();
  }
  static const u32 bits4[] = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024};
  for (unsigned n = 0; n < sizeof bits4 / sizeof *bits4; n++) {
    cr_value = cr4 ^ bits4[n];
    if (bits4[n] == 16 || bits4[n] == 32) continue;
    run(set_cr4, 0);
    hex(bits4[n], 4); put(' '); report();
    line();
    asm volatile("mov %0,%%cr4" ::"r"(cr4));
  }
  cr_value = cr4 | 1 << 17;
  if (!tcg) {
    run(set_cr4, 0); text("! pcide "); report(); line();
    cr_value = cr4 | 1u << 31;
    run(set_cr4, 0); text("! reserved "); report(); line();
  }
  for (int n = 0; n < 32; n++) {
    cr_value = 1u << n;
    if (n == 12) continue;
    run(set_dr6, 0); hex(got, 8); put(' ');
    if (n > 9 && n < 16) { line(); continue; }
    run(set_dr7, 0); hex(got, 8);
    line();
  }
  cr_value = 0;
  run(set_dr7, 0);
  run(set_dr6, 0);
}

static u32 watched;
static void step(void) {
  asm volatile("pushf; orl $0x100,(%%esp); popf; nop; mov %%ss,%%ax; mov %%ax,%%ss; nop; push %%eax; pop %%eax; int $0x40; nop; nop; nop; nop" ::: "eax");
}
static void step_string(void) {
  static u8 a[8], b[8];
  asm volatile("mov %0,%%esi; mov %1,%%edi; mov $3,%%ecx; pushf; orl $0x100,(%%esp); popf; rep movsb; nop; nop" ::"i"(a), "i"(b) : "esi", "edi", "ecx");
}
static void data_break(void) {
  asm volatile("mov %0,%%dr0; mov $0x000d0001,%%eax; mov %%eax,%%dr7; movl $1,%1; nop; nop; xor %%eax,%%eax; mov %%eax,%%dr7" ::"r"(&watched), "m"(watched) : "eax");
}
static void data_break_rw(void) {
  asm volatile("mov %0,%%dr0; mov $0x000f0001,%%eax; mov %%eax,%%dr7; mov %1,%%eax; nop; nop; xor %%eax,%%eax; mov %%eax,%%dr7" ::"r"(&watched), "m"(watched) : "eax");
}
static void code_break(void) {
  asm volatile("mov $1f,%%eax; mov %%eax,%%dr1; mov $0x00000004,%%eax; mov %%eax,%%dr7; nop; 1: nop; nop; xor %%eax,%%eax; mov %%eax,%%dr7" ::: "eax");
}
static void icebp(void) { asm volatile(".byte 0xf1; nop"); }
static void general_detect(void) {
  asm volatile("mov $0x2000,%%eax; mov %%eax,%%dr7; mov %%dr0,%%eax; nop; xor %%eax,%%eax; mov %%eax,%%dr7" ::: "eax");
}
static void debug(void) {
  void (*const f[])(void) = {step, step_string, data_break, data_break_rw, code_break, icebp, general_detect};
  static const int limits[] = {9, 8, 3, 3, 3, 3, 3};
  const unsigned cases = tcg ? 5 : sizeof f / sizeof *f;
  text("debug\n");
  for (unsigned n = 0; n < cases; n++) {
    if (n >= 5) text("!");
    keep_going = limits[n];
    traps = 0;
    run(f[n], 0);
    keep_going = 0;
    asm volatile("pushl $2; popf; xor %%eax,%%eax; mov %%eax,%%dr7" ::: "eax");
    item("traps", traps);
    line();
  }
}

// Tasks
void task_body(void);
asm(".globl task_body\n"
    "task_body: pushf; andl $~4,(%esp); pop task_flags_; incl task_runs_; iret; jmp task_body\n"
    ".data\n task_runs_: .long 0\n task_flags_: .long 0\n .text\n");
extern u32 task_runs_, task_flags_;
static void call_task(void) { asm volatile("lcall $0x38,$0"); }
static void call_task_gate(void) { asm volatile("lcall $0xf8,$0"); }
static void call_task16(void) { asm volatile("lcall $0x40,$0"); }
static void int_task(void) { asm volatile("int $0x50"); }
static void prepare_task(void (*entry)(void)) {
  for (int n = 0; n < 26; n++) tss2[n] = 0;
  u32 cr3;
  asm volatile("mov %%cr3,%0" : "=r"(cr3));
  tss2[7] = cr3;
  tss2[8] = (u32)entry;
  tss2[9] = 2;
  tss2[14] = (u32)task_stack + sizeof task_stack;
  tss2[18] = tss2[20] = tss2[21] = 0x10;
  tss2[19] = 8;
  tss2[24] = 0x30;
  fill();
  gdt[5] = DESC((u32)tss, sizeof tss - 1, 0x8b, 0);
}
static void task_report(const char *name) {
  u32 cr0;
  asm volatile("mov %%cr0,%0; clts" : "=r"(cr0));
  text(name); put(' '); report();
  item("runs", task_runs_); item("fl", task_flags_); item("link", tss2[0]); item("busy", (gdt[7] >> 40) & 15); item("own", (gdt[5] >> 40) & 15); item("ts", cr0 & 8);
  u16 tr;
  asm volatile("str %0" : "=r"(tr));
  item("tr", tr);
  line();
}
static void tasks(void) {
  text("tasks\n");
  prepare_task(task_body);
  run(call_task, 0); task_report("call");
  run(call_task, 0); task_report("again");
  gdt[31] = gate(0x38, 0, 0xe5, 0);
  run(call_task_gate, 0); task_report("gate");
  run(call_task_gate, 1); task_report("gate from 3");
  run(call_task, 1); task_report("tss from 3");
  idt[0x50] = gate(0x38, 0, 0xe5, 0);
  run(int_task, 1); task_report("int");
  // bad states of the incoming task, seen as #TS, #NP, #SS in the new task
  static const struct { int field; u32 value; } bad[] = {
    {21, 0x70}, {21, 0x08}, {21, 0x58}, {22, 0x3f8}, {18, 0x13}, {23, 0xa8}, {8, 0},
  };
  for (unsigned n = 0; n < sizeof bad / sizeof *bad; n++) {
    prepare_task(task_body);
    if (bad[n].field == 8) { gdt[38] = DESC(0, 0x10, 0x9b, 4); tss2[19] = 0x130; tss2[8] = 0x100000; }
    else tss2[bad[n].field] = bad[n].value;
    hex(bad[n].field, 2); put(':'); hex(bad[n].value, 4); put(' ');
    run(call_task, 0);
    report(); if (trapped) { item("cs", last.cs); item("nt", last.flags & 0x4000); }
    // whichever task we are in, start over in the first
    fill();
    asm volatile("ltr %w0; lldt %w1" ::"r"(0x28), "r"(0x30));
    line();
  }
  static const u16 targets[] = {0xe0, 0xe8, 0xf0, 0x28};
  for (unsigned n = 0; n < 4; n++) {
    prepare_task(task_body);
    sel = targets[n];
    hex(sel, 4); put(' ');
    run(call_there, 0); report(); line();
  }
}

// A 16-bit task: code, data and stack in the 64 KiB at 0x10000
static void task16(void) {
  static const u8 body[] = {0x9c, 0x8f, 0x06, 0x00, 0x20, 0x16, 0x8f, 0x06, 0x02, 0x20, 0xff, 0x06, 0x04, 0x20, 0x89, 0x26, 0x06, 0x20, 0xcf, 0xeb, 0xeb};
  u8 *const area = (u8 *)0x10000;
  u16 *const saw = (u16 *)0x12000;
  fill();
  gdt[5] = DESC((u32)tss, sizeof tss - 1, 0x8b, 0);
  for (unsigned n = 0; n < sizeof body; n++) area[n] = body[n];
  for (int n = 0; n < 4; n++) saw[n] = 0;
  for (int n = 0; n < 22; n++) tss16[n] = 0;
  tss16[8] = 2; // FLAGS
  tss16[13] = 0x1000; // SP
  tss16[17] = 0x98; // ES CS SS DS
  tss16[18] = 0xa0;
  tss16[19] = 0x98;
  tss16[20] = 0x98;
  for (int k = 0; k < 2; k++) {
    run(call_task16, 0);
    u16 tr;
    asm volatile("str %0; clts" : "=r"(tr));
    text("16 bits "); report();
    item("fl", saw[0]); item("ss", saw[1]); item("runs", saw[2]); item("sp", saw[3]); item("link", tss16[0]); item("ip", tss16[7]); item("nt", tss16[8]); item("tr", tr);
    item("busy", (gdt[8] >> 40) & 15);
    line();
  }
}

// Virtual-8086 mode: code at 0x8000
static u8 *const low = (u8 *)0x8000;
static u32 v86_flags;
static void v86(void) {
  asm volatile("pushl $0; pushl $0; pushl $0; pushl $0; pushl $0x700; pushl $0x1000; push %0; pushl $0x800; pushl $0; iret" ::"r"(v86_flags));
}
static void v86_case(const char *name, const u8 *code, unsigned size) {
  for (int vme = 0; vme < (tcg ? 1 : 2); vme++)
    for (int iopl = 0; iopl < 4; iopl += 3)
      for (int vif = 0; vif < 3; vif++) {
        if (!vme && vif) continue;
        for (unsigned n = 0; n < size; n++) low[n] = code[n];
        low[size] = 0xf4;
        for (int n = 0; n < 16; n++) ((u32 *)0x7f00)[n] = 0;
        u32 c4;
        asm volatile("mov %%cr4,%0" : "=r"(c4));
        asm volatile("mov %0,%%cr4" ::"r"(vme ? c4 | 1 : c4 & ~1));
        v86_flags = 0x20002 | iopl << 12 | (vif == 1 ? 0x80000 : vif == 2 ? 0x100000 : 0);
        run(v86, 0);
        if (vme) text("! ");
        text(name); put(vme ? 'v' : '-'); hex(iopl, 1); hex(vif, 1); put(' '); report();
        item("eip", last.eip); item("cs", last.cs); item("fl", last.flags & ~0x10000); item("sp", last.usp); item("ss", last.uss);
        item("top", *(u32 *)(0x7000 + (last.usp & 0xffff))); item("ax", last.eax & 0xffff);
        line();
        asm volatile("mov %0,%%cr4" ::"r"(c4));
      }
}
#define V86(name, ...) { static const u8 code[] = {__VA_ARGS__}; v86_case(name, code, sizeof code); }
static void v86_tests(void) {
  text("v86\n");
  u8 *map = (u8 *)tss + 104;
  tss[25] = (104 + 32) << 16; // I/O map behind the redirection map
  for (int n = 0; n < 32; n++) map[n] = 0;
  map[0x31 >> 3] |= 1 << (0x31 & 7); // 0x31 goes to protected mode
  for (int n = 32; n < 152; n++) map[n] = 0xff;
  map[32 + (0x92 >> 3)] = 0xfb;
  *(u32 *)(0x30 * 4) = 0x09000010; // 0900:0010
  *(u32 *)(0x31 * 4) = 0x09000010;
  *(u32 *)(0x41 * 4) = 0x09000010;
  *(u8 *)0x9010 = 0xf4;
  idt[0x30] = gate(8, (u32)stubs + 0x30 * 16, 0xee, 0);
  idt[0x31] = gate(8, (u32)stubs + 0x31 * 16, 0xee, 0);
  V86("hlt", 0x90)
  V86("int30", 0xcd, 0x30)
  V86("int31", 0xcd, 0x31)
  V86("int41", 0xcd, 0x41)
  V86("int3", 0xcc)
  V86("cli", 0xfa)
  V86("sti", 0xfb, 0x90)
  V86("pushf", 0x9c, 0x58)
  V86("pushfd", 0x66, 0x9c, 0x66, 0x58)
  V86("popf0", 0x6a, 0x00, 0x9d)
  V86("popf200", 0x68, 0x00, 0x02, 0x9d)
  V86("popf3000", 0x68, 0x00, 0x30, 0x9d)
  V86("popfd", 0x66, 0x68, 0x00, 0x02, 0x00, 0x00, 0x66, 0x9d)
  V86("iret", 0x68, 0x00, 0x02, 0x68, 0x00, 0x09, 0x68, 0x10, 0x00, 0xcf)
  V86("iretd", 0x66, 0x68, 0x00, 0x02, 0x00, 0x00, 0x66, 0x68, 0x00, 0x09, 0x00, 0x00, 0x66, 0x68, 0x10, 0x00, 0x00, 0x00, 0x66, 0xcf)
  V86("in92", 0xe4, 0x92, 0xb0, 0x00)
  V86("in93", 0xe4, 0x93, 0xb0, 0x00)
  V86("inw92", 0xe5, 0x92, 0xb0, 0x00)
  V86("far", 0xea, 0x10, 0x00, 0x00, 0x09)
  V86("movds", 0xb8, 0x34, 0x12, 0x8e, 0xd8, 0x8c, 0xd8)
  V86("lldt", 0x0f, 0x00, 0xd0)
  V86("lar", 0x0f, 0x02, 0xc0)
  V86("cr0", 0x0f, 0x20, 0xc0)
  V86("lgdt", 0x0f, 0x01, 0x16, 0x00, 0x00)
  V86("wide", 0xa1, 0xff, 0xff)
  V86("ud2", 0x0f, 0x0b)
}

extern u8 real_start[], real_end[];
static void real_mode(void) {
  static const struct { u16 limit; u32 base; } __attribute__((packed)) vectors = {0x3ff, 0};
  u8 *const area = (u8 *)0x10000;
  for (unsigned n = 0; n < real_end - real_start; n++) area[n] = real_start[n];
  text("real mode\n");
  // FS keeps its limit of 4 GiB
  asm volatile("lidt %0; mov %1,%%fs; mov %2,%%ds; mov %2,%%es; mov %2,%%ss; mov $0xf000,%%esp; ljmp $0xa0,$0" ::"m"(vectors), "r"(0x10), "r"(0x98));
}

void main(void) {
  outb(0x21, 0xff);
  outb(0xa1, 0xff);
  fill();
  struct { u16 limit; u32 base; } __attribute__((packed)) gdtr = {count * 8 - 1, (u32)gdt}, idtr = {sizeof idt - 1, (u32)idt};
  for (int n = 0; n < 256; n++) idt[n] = gate(8, (u32)stubs + n * 16, n == 3 || n == 4 || n == 0x40 ? 0xee : 0x8e, 0);
  tss[2] = 0x10;
  tss[7] = (u32)directory;
  tss[25] = 0xffff << 16;
  static u8 inner[8192] __attribute__((aligned(16)));
  tss[1] = (u32)inner + sizeof inner;
  asm volatile("lgdt %0; lidt %1; ljmp $8,$1f; 1: mov %2,%%ds; mov %2,%%es; mov %2,%%ss; mov %3,%%fs; mov %3,%%gs" ::"m"(gdtr), "m"(idtr), "r"(0x10), "r"(0));
  asm volatile("ltr %w0; lldt %w1" ::"r"(0x28), "r"(0x30));
  for (u32 n = 0; n < 1024; n++) directory[n] = n << 22 | 0xe7; // 4 MiB pages for everybody
  asm volatile("mov %0,%%cr3; mov %%cr4,%%eax; or $16,%%eax; mov %%eax,%%cr4; mov %%cr0,%%eax; or $0x80000000,%%eax; mov %%eax,%%cr0" ::"r"(directory) : "eax");
  u32 leaf = 0x40000000, b, c, d;
  asm volatile("cpuid" : "+a"(leaf), "=b"(b), "=c"(c), "=d"(d));
  tcg = b == 0x54474354;
  text("start\n");
  descriptors();
  gates();
  flags();
  privileges();
  system_loads();
  cr();
  debug();
  tasks();
  task16();
  v86_tests();
  real_mode();
}
