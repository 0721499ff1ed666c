// System behaviour in 64-bit mode and its compatibility mode, printed on port 0xe9. Lines with ! need more than the reference emulator has.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned u32;
typedef unsigned long u64;

extern u8 stubs[], user_top[], compat_code[];
extern u64 gate_rsp, gate_cs, gate_ss, seen[8], return_rex, return_to;
int attempt(void (*f)(void));
void resume(void);
void ring3(void);
void gate_target(void);
void syscall_entry(void);
void sysenter_entry(void);

static inline void outb(u16 port, u8 v) { asm volatile("outb %0,%1" ::"a"(v), "d"(port)); }
static void put(char c) { outb(0xe9, c); }
static void text(const char *s) { while (*s) put(*s++); }
static void hex(u64 v, int digits) { while (digits--) put("0123456789abcdef"[(v >> (digits * 4)) & 15]); }
static void item(const char *name, u64 v) { text(" "); text(name); text("="); hex(v, v >> 32 ? 16 : v > 0xffff ? 8 : 4); }
static void line(void) { put('\n'); }

struct frame { u64 r11, rdi, rsi, rdx, rcx, rax, vector, code, rip, cs, flags, rsp, ss; };
static struct frame last;
static u64 last_at;
static int trapped;
u64 user_flags = 2;
void (*user_fn)(void);

struct frame *trap(struct frame *f) {
  last = *f;
  last_at = (u64)f + sizeof *f;
  trapped = 1;
  if (f->vector == 0x41) return f;
  asm volatile("pushq $2; popfq; jmp resume");
  return f;
}

#define DESC(base, limit, access, flags) ((u64)((limit) & 0xffff) | ((u64)((base) & 0xffffff) << 16) | ((u64)(access) << 40) | ((u64)(((limit) >> 16) & 15) << 48) | ((u64)(flags) << 52) | ((u64)((u32)(base) >> 24) << 56))
static u64 gate(u32 sel, u64 off, u32 type, u32 ist) { return (off & 0xffff) | ((u64)sel << 16) | ((u64)ist << 32) | ((u64)type << 40) | ((off >> 16 & 0xffff) << 48); }

static u64 gdt[80] __attribute__((aligned(16)));
static u64 ldt[4] __attribute__((aligned(16)));
static u64 idt[512] __attribute__((aligned(16)));
static u32 tss[26] __attribute__((aligned(128)));
static u8 inner[8192] __attribute__((aligned(16))), ist1[4096] __attribute__((aligned(16)));
static int count, tcg;

static void fill(void) {
  int n = 1;
  gdt[n++] = DESC(0, 0xfffff, 0x9b, 10); // 08 kernel code
  gdt[n++] = DESC(0, 0xfffff, 0x93, 12); // 10 kernel data
  gdt[n++] = DESC(0, 0xfffff, 0xfb, 12); // 18 user code, 32 bits
  gdt[n++] = DESC(0, 0xfffff, 0xf3, 12); // 20 user data
  gdt[n++] = DESC(0, 0xfffff, 0x9b, 12); // 28 kernel code, 32 bits
  gdt[n++] = DESC(0, 0xfffff, 0xfb, 10); // 30 user code
  gdt[n++] = DESC((u32)(u64)tss, 103, 0x89, 0); // 38 TSS
  gdt[n++] = 0;
  gdt[n++] = DESC((u32)(u64)ldt, sizeof ldt - 1, 0x82, 0); // 48 LDT
  gdt[n++] = 0;
  gdt[n++] = gate(8, (u64)gate_target, 0xec, 0); // 58 call gate, DPL 3
  gdt[n++] = 0;
  gdt[n++] = gate(8, (u64)gate_target, 0xec, 0); // 68 call gate with a type in its upper half
  gdt[n++] = 0x80000000000;
  gdt[n++] = gate(0x28, (u64)gate_target, 0xec, 0); // 78 call gate to 32-bit code
  gdt[n++] = 0;
  gdt[n++] = gate(8, (u64)gate_target, 0xec, 0); // 88 call gate to a wild address
  gdt[n++] = 0x8000;
  gdt[n++] = DESC(0, 0xfffff, 0x9b, 14); // 98 L and D
  gdt[n++] = DESC(0, 0xfffff, 0x13, 12); // a0 absent data
  gdt[n++] = DESC(0, 0xfffff, 0x1b, 10); // a8 absent code
  gdt[n++] = DESC(0, 0xfffff, 0x9f, 10); // b0 conforming
  gdt[n++] = DESC(0, 0xfffff, 0x91, 12); // b8 read-only data
  gdt[n++] = DESC((u32)(u64)tss, 103, 0x81, 0); // c0 16-bit TSS
  gdt[n++] = 0;
  gdt[n++] = DESC((u32)(u64)tss, 103, 0x8b, 0); // d0 busy TSS
  gdt[n++] = 0;
  gdt[n++] = gate(0x38, 0, 0xe5, 0); // e0 task gate
  gdt[n++] = 0;
  gdt[n++] = gate(8, (u64)gate_target, 0xe4, 0); // f0 16-bit call gate
  gdt[n++] = 0;
  gdt[n++] = DESC((u32)(u64)tss, 103, 0x89, 0); // 100 TSS at a wild address
  gdt[n++] = 0x8000;
  gdt[n++] = DESC(0x11223344, 0xfffff, 0xf3, 12); // 110 data with a base
  gdt[n++] = DESC(0, 0xfffff, 0xb3, 12); // 118 data, DPL 1
  gdt[n++] = gate(8, (u64)gate_target, 0x8c, 0); // 120 call gate, DPL 0
  gdt[n++] = 0;
  count = n;
  ldt[1] = DESC(0, 0xfffff, 0xf3, 12);
}

static u64 sel;
static struct { u64 off; u16 sel; } __attribute__((packed)) far64;
static struct { u32 off; u16 sel; } __attribute__((packed)) far32;
static void load_ds(void) { asm volatile("mov %0,%%ds" ::"r"(sel)); }
static void load_fs(void) { asm volatile("mov %0,%%fs" ::"r"(sel)); }
static void load_ss(void) { asm volatile("mov %%ss,%%ecx; mov %0,%%ss; mov %%ecx,%%ss" ::"a"(sel) : "ecx"); }
static void jmp_there(void) { asm volatile("movl $1f,%0; movw %w2,%1; ljmp *%0; 1: nop" : "=m"(far32.off), "=m"(far32.sel) : "r"(sel)); }
static void ret_there(void) { asm volatile("push %0; push $1f; lretq; 1: nop" ::"r"(sel)); }
static void iret_there(void) { asm volatile("mov %%rsp,%%rcx; mov %%ss,%%eax; push %%rax; push %%rcx; pushfq; push %0; push $1f; iretq; 1: nop" ::"b"(sel) : "rcx", "rax"); }
static void iret_ss(void) { asm volatile("mov %%rsp,%%rcx; push %0; push %%rcx; pushfq; mov %%cs,%%eax; push %%rax; push $1f; iretq; 1: nop" ::"b"(sel) : "rcx", "rax"); }
static void iret_ss3(void) { asm volatile("push %0; push $user_top; push $2; push $0x33; push $1f; iretq; 1: int $0x40" ::"b"(sel)); }
static void call_there(void) { asm volatile("movw %w1,%0; rex.W lcall *%2" : "=m"(far64.sel) : "r"(sel), "m"(far64) : "rax"); }
static void do_lldt(void) { asm volatile("lldt %w0" ::"r"(sel)); }
static void do_ltr(void) { asm volatile("ltr %w0" ::"r"(sel)); }

static void report(void) {
  if (!trapped) text("-");
  else { hex(last.vector, 2); put(':'); hex(last.code, 4); }
}
static void reload(void) { asm volatile("push $8; push $1f; lretq; 1:" ::: "memory"); }
static void run(void (*f)(void), int user) {
  trapped = 0;
  user_fn = f;
  int back = attempt(user ? ring3 : f);
  if (back && last.vector == 0x40) trapped = 0;
  reload();
}
static void query(void) {
  u64 v = 0x5555555555555555, z;
  asm volatile("lar %2,%0; setz %b1" : "+r"(v), "=q"(z) : "r"(sel));
  text(" lar"); hex(z & 1, 1); hex(v, 8);
  v = 0x5555555555555555;
  asm volatile("lsl %2,%0; setz %b1" : "+r"(v), "=q"(z) : "r"(sel));
  text(" lsl"); hex(z & 1, 1); hex(v, 8);
  asm volatile("verr %w1; setz %b0" : "=q"(z) : "r"(sel));
  text(" verr"); hex(z & 1, 1);
  asm volatile("verw %w1; setz %b0" : "=q"(z) : "r"(sel));
  text(" verw"); hex(z & 1, 1);
}

static void descriptors(void) {
  static const char *const names[] = {"ds", "fs", "ss", "jmp", "ret", "iret", "iss", "iss3", "call"};
  void (*const f[])(void) = {load_ds, load_fs, load_ss, jmp_there, ret_there, iret_there, iret_ss, iret_ss3, call_there};
  text("descriptors\n");
  for (int n = 0; n <= count + 1; n++)
    for (int rpl = 0; rpl < 4; rpl += 3)
      for (int user = 0; user < 2; user++) {
        sel = n * 8 + rpl;
        hex(sel, 4);
        put(user ? 'u' : 'k');
        user_flags = user ? 0x3002 : 2;
        for (unsigned k = 0; k < sizeof f / sizeof *f; k++) {
          // into 32-bit code at the wrong place: compat() looks at that
          if ((n == 3 || n == 5) && k >= 3 && k != 6 && k != 7) continue;
          if (k == 8) far64.off = (u64)gate_target;
          if (user && k == 7) continue;
          put(' '); text(names[k]); put(' ');
          run(f[k], user);
          report();
        }
        run(query, user);
        line();
      }
  user_flags = 2;
}

static void system_loads(void) {
  text("lldt ltr\n");
  for (int n = 0; n <= count + 1; n++) {
    sel = n * 8;
    hex(sel, 4);
    text(" lldt "); run(do_lldt, 0); report();
    if (!tcg || (n != 0 && n != 32)) { text(" ltr "); run(do_ltr, 0); report(); }
    line();
    fill();
  }
  fill();
  asm volatile("ltr %w0; lldt %w1" ::"r"(0x38), "r"(0x48));
}

static void gate_call(void) { far64.sel = 0x5b; asm volatile("rex.W lcall *%0" ::"m"(far64) : "rax"); }
static void gate_call32(void) { far32.sel = 0x5b; asm volatile("lcall *%0" ::"m"(far32) : "rax"); }
static void gates(void) {
  text("call gates\n");
  for (int user = 0; user < 2; user++) {
    run(gate_call, user);
    report(); item("cs", gate_cs); item("ss", gate_ss);
    u64 *s = (u64 *)gate_rsp;
    if (user) { item("depth", (u64)inner + sizeof inner - gate_rsp); item("retcs", s[1]); item("rsp", (u64)user_top - s[2]); item("retss", s[3]); }
    line();
  }
  run(gate_call32, 1);
  report(); line();
}

static void int42(void) { asm volatile("int $0x42"); }
static void int43(void) { asm volatile("int $0x43"); }
static void int44(void) { asm volatile("int $0x44"); }
static void int45(void) { asm volatile("int $0x45"); }
static void int46(void) { asm volatile("int $0x46"); }
static void int47(void) { asm volatile("int $0x47"); }
static void ud2(void) { asm volatile("ud2"); }
static void odd_stack(void) { asm volatile("mov %%rsp,%%rcx; sub $5,%%rsp; int3; mov %%rcx,%%rsp" ::: "rcx"); }
static void wild_read(void) { asm volatile("mov %0,%%rax; mov (%%rax),%%rcx" ::"i"(0x8000000000000000) : "rax", "rcx"); }
static void wild_bp(void) { asm volatile("mov %%rbp,%%rcx; mov %0,%%rbp; mov (%%rbp),%%rax; mov %%rcx,%%rbp" ::"i"(0x8000000000000000) : "rax", "rcx"); }
static void wild_sp(void) { asm volatile("mov %%rsp,%%rcx; mov %0,%%rsp; push %%rax; mov %%rcx,%%rsp" ::"i"(0x8000000000000008) : "rax", "rcx"); }
static void wild_jump(void) { asm volatile("mov %0,%%rax; jmp *%%rax" ::"i"(0x8000000000000000) : "rax"); }
static void wild_ret(void) { asm volatile("mov %0,%%rax; push %%rax; ret" ::"i"(0x8000000000000000) : "rax"); }
static void wild_iret(void) { asm volatile("mov %%rsp,%%rcx; push $0x10; push %%rcx; pushfq; push $8; mov %0,%%rax; push %%rax; iretq" ::"i"(0x8000000000000000) : "rax", "rcx"); }
static void wild_iret_sp(void) { asm volatile("mov %0,%%rsp; iretq" ::"i"(0x8000000000000000)); }
static void cross(void) { asm volatile("mov %0,%%rax; mov (%%rax),%%rcx" ::"i"(0x00007ffffffffffc) : "rax", "rcx"); }
static void nt_iret(void) { asm volatile("pushfq; orq $0x4000,(%%rsp); popfq; mov %%rsp,%%rcx; push $0x10; push %%rcx; push $2; push $8; push $1f; iretq; 1: pushq $2; popfq" ::: "rcx"); }
static void set_cr0(void) { asm volatile("mov %0,%%cr0" ::"r"(sel)); }
static void set_cr3(void) { asm volatile("mov %0,%%cr3" ::"r"(sel)); }
static void set_cr4(void) { asm volatile("mov %0,%%cr4" ::"r"(sel)); }
static void set_cr8(void) { asm volatile("mov %0,%%cr8" ::"r"(sel)); }
static void set_dr7(void) { asm volatile("mov %0,%%dr7" ::"r"(sel)); }
static void cr5(void) { asm volatile(".byte 0x0f,0x20,0xe8"); }
static u32 msr;
static void wrmsr_(void) { asm volatile("wrmsr" ::"c"(msr), "a"((u32)sel), "d"((u32)(sel >> 32))); }
static void swapgs(void) { asm volatile("swapgs; swapgs"); }
static void sysret_(void) { asm volatile("mov $1,%%rcx; shl $63,%%rcx; sysretq" ::: "rcx"); }
static void invlpg(void) { asm volatile("invlpg (%0)" ::"r"(0x8000000000000000)); }
#define ROW(f) {#f, f}
static void faults(void) {
  static const struct { const char *name; void (*f)(void); } rows[] = {
    ROW(int42), ROW(int43), ROW(int44), ROW(int45), ROW(int46), ROW(int47), ROW(ud2), ROW(odd_stack), ROW(wild_read), ROW(wild_bp), ROW(wild_sp),
    ROW(wild_jump), ROW(wild_ret), ROW(wild_iret), ROW(wild_iret_sp), ROW(cross), ROW(nt_iret), ROW(swapgs), ROW(cr5), ROW(invlpg),
  };
  text("faults\n");
  idt[0x42 * 2] = gate(8, (u64)stubs + 0x42 * 16, 0x8e, 0);
  idt[0x43 * 2] = gate(8, (u64)stubs + 0x43 * 16, 0x6e, 0);
  idt[0x44 * 2] = gate(0x28, (u64)stubs + 0x44 * 16, 0xee, 0);
  idt[0x45 * 2] = gate(0, (u64)stubs + 0x45 * 16, 0xee, 0);
  idt[0x46 * 2] = gate(8, (u64)stubs + 0x46 * 16, 0xee, 1);
  idt[0x47 * 2] = gate(8, (u64)stubs + 0x47 * 16, 0xe6, 0);
  for (int user = 0; user < 2; user++)
    for (unsigned n = 0; n < sizeof rows / sizeof *rows; n++) {
      const int strict = rows[n].f == wild_bp || rows[n].f == wild_sp || rows[n].f == wild_iret_sp; // #SS, not #GP, for the stack
      if (strict && tcg) continue;
      if (strict) text("! ");
      text(rows[n].name); put(user ? 'u' : 'k'); put(' ');
      run(rows[n].f, user);
      report();
      if (trapped) {
        item("rip", last.rip); item("cs", last.cs); item("ss", last.ss); item("fl", last.flags & ~0x10000);
        item("at", last.vector == 0x46 || last.vector == 12 ? (u64)ist1 + sizeof ist1 - last_at : user ? (u64)inner + sizeof inner - last_at : last_at & 15);
      }
      line();
    }
}

static void registers(void) {
  text("registers\n");
  u64 cr0, cr3, cr4;
  asm volatile("mov %%cr0,%0; mov %%cr3,%1; mov %%cr4,%2" : "=r"(cr0), "=r"(cr3), "=r"(cr4));
#define TRY(name, f, value) { text(name); put(' '); sel = value; run(f, 0); report(); line(); }
#define STRICT(name, f, value) if (!tcg) { text("! "); TRY(name, f, value) }
  STRICT("cr0 pg off", set_cr0, cr0 & ~0x80000000ul)
  STRICT("cr0 upper", set_cr0, cr0 | 1ul << 32)
  STRICT("cr4 pae off", set_cr4, cr4 & ~0x20ul)
  STRICT("cr4 upper", set_cr4, cr4 | 1ul << 32)
  TRY("cr4 pge", set_cr4, cr4 | 0x80)
  TRY("cr4 back", set_cr4, cr4)
  STRICT("cr3 upper", set_cr3, cr3 | 1ul << 62)
  TRY("cr3", set_cr3, cr3)
  STRICT("cr8", set_cr8, 16)
  STRICT("dr7", set_dr7, 1ul << 32)
  static const struct { const char *name; u32 msr; u64 value; } writes[] = {
    {"fsbase", 0xc0000100, 0x8000000000000000}, {"gsbase", 0xc0000101, 0x0000800000000000}, {"kgsbase", 0xc0000102, 0x8000000000000000},
    {"lstar", 0xc0000082, 0x8000000000000000}, {"efer bit", 0xc0000080, 0x10000000501}, {"efer lme", 0xc0000080, 0x401}, {"pat", 0x277, 2}, {"pat ok", 0x277, 0x0007040600070406},
    {"mtrr", 0x2ff, 2}, {"tscaux", 0xc0000103, 0x100000000}, {"sysenter", 0x176, 0x8000000000000000},
  };
  for (unsigned n = 0; n < sizeof writes / sizeof *writes; n++) {
    if (tcg) continue;
    msr = writes[n].msr;
    STRICT(writes[n].name, wrmsr_, writes[n].value)
  }
}

static void fsgs(void) {
  text("bases\n");
  u32 lo, hi;
  msr = 0xc0000100;
  sel = 0x123456789abc;
  wrmsr_();
  asm volatile("mov %0,%%fs" ::"r"(0x20));
  asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
  item("data", (u64)hi << 32 | lo);
  wrmsr_();
  asm volatile("mov %0,%%fs" ::"r"(0x113));
  asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
  item("based", (u64)hi << 32 | lo);
  wrmsr_();
  asm volatile("mov %0,%%fs" ::"r"(0));
  asm volatile("rdmsr" : "=a"(lo), "=d"(hi) : "c"(msr));
  item("null", (u64)hi << 32 | lo);
  line();
}

static void compat_user(void) {
  // level 3, 32 bits: int 0x41 comes back, int 0x40 ends
  asm volatile("mov $0x23,%%eax; mov %%eax,%%ds; pushq $0x23; pushq %0; pushq $2; pushq $0x1b; pushq $compat_code; iretq" ::"b"((u64)user_top) : "rax");
}
static void compat_kernel(void) {
  asm volatile("mov %%rsp,%%rax; mov $user_top,%%rsp; pushq $0x28; pushq $compat_code; lretq" ::: "rax");
}
static void do_syscall(void) { asm volatile("syscall; mov %%cs,%%eax; mov %%eax,%0; mov %%ss,%%eax; mov %%eax,%1" : "=m"(seen[5]), "=m"(seen[6])::"rcx", "r11", "rax"); }
static void syscall_to_32(void) {
  // returns to 32-bit code, which these bytes are too: int 0x41, int 0x40
  asm volatile("syscall; int $0x41; int $0x40" ::: "rcx", "r11", "rax");
}
static void do_sysenter(void) { asm volatile("movq $1f,%0; sysenter; 1: mov %%cs,%%eax; mov %%eax,%1; mov %%ss,%%eax; mov %%eax,%2; int $0x40" : "=m"(return_to), "=m"(seen[5]), "=m"(seen[6])::"rcx", "rdx", "rax"); }
static void calls(void) {
  text("compatibility mode\n");
  run(compat_user, 0);
  report(); item("cs", last.cs); item("ss", last.ss); item("rip", last.rip - (u64)compat_code); item("push", seen[1]); item("sp", (u64)user_top - (u32)seen[2]);
  line();
  run(compat_kernel, 0);
  report(); item("cs", last.cs); item("rip", last.rip - (u64)compat_code); item("push", seen[1]);
  line();
  text("fast calls\n");
  msr = 0xc0000081; sel = 0x00230008ul << 32; wrmsr_(); // SYSRET: 0x20 + 16 = 0x30, SS 0x28
  sel = 0x0020ul << 48 | 0x0008ul << 32; wrmsr_();
  msr = 0xc0000082; sel = (u64)syscall_entry; wrmsr_();
  msr = 0xc0000084; sel = 0x4700; wrmsr_();
  return_rex = 1;
  user_flags = 0x3ed7 & ~0x100;
  run(do_syscall, 1);
  report(); item("r11", seen[1]); item("fl", seen[2]); item("cs", seen[3]); item("ss", seen[4]); item("ucs", seen[5]); item("uss", seen[6]);
  line();
  return_rex = 0;
  msr = 0xc0000081; sel = 0x0018ul << 48 | 0x0008ul << 32; wrmsr_();
  run(syscall_to_32, 1);
  report(); item("cs", last.cs); item("ss", last.ss); item("fl", last.flags);
  line();
  msr = 0x174; sel = 0; wrmsr_();
  run(do_sysenter, 1);
  text("no sysenter "); report(); line();
  user_flags = 2;
  user_flags = 0x202 & ~0x200;
  msr = 0xc0000080; sel = 0x500; wrmsr_();
  run(do_syscall, 1);
  text("no syscall "); report(); line();
  sel = 0x501; wrmsr_();
  if (!tcg) {
    run(sysret_, 0);
    text("! sysret "); report(); item("cs", last.cs); line();
  }
}

static void stack_ops(void) {
  text("stack\n");
  u64 a, b, c;
  asm volatile("mov %%rsp,%0; pushw $0x1234; mov %%rsp,%1; popw %w2; sub %%rsp,%0; sub %%rsp,%1" : "=&r"(a), "=&r"(b), "=&r"(c));
  item("w", b); item("v", c & 0xffff); item("d", a);
  asm volatile("mov %%rsp,%%rbx; push %%rsp; pop %0; sub %%rbx,%0; push $0x77; push 0(%%rsp); pop 0(%%rsp); pop %1; push $-5; pop %2; sub %%rsp,%%rbx; add %%rbx,%0" : "=&r"(a), "=&r"(b), "=&r"(c)::"rbx");
  item("sp", a); item("m", b); item("n", c);
  asm volatile("mov %%rbp,%%r8; mov %%rsp,%%rbp; enter $32,$3; mov %%rsp,%0; mov %%rbp,%1; leave; mov %%rsp,%2; xchg %%rbp,%%r8; sub %%rsp,%0; sub %%rsp,%1; sub %%rsp,%2" : "=&a"(a), "=&d"(b), "=&c"(c)::"r8");
  item("enter", a); item("bp", b); item("leave", c);
  asm volatile("push %%fs; pop %0" : "=r"(a));
  item("fs", a);
  line();
}

void main(void) {
  outb(0x21, 0xff);
  outb(0xa1, 0xff);
  u32 leaf = 0x40000000, b, c, d;
  asm volatile("cpuid" : "+a"(leaf), "=b"(b), "=c"(c), "=d"(d));
  tcg = b == 0x54474354;
  fill();
  struct { u16 limit; u64 base; } __attribute__((packed)) gdtr = {count * 8 - 1, (u64)gdt}, idtr = {sizeof idt - 1, (u64)idt};
  for (int n = 0; n < 256; n++) idt[n * 2] = gate(8, (u64)stubs + n * 16, n == 3 || n == 4 || n == 0x40 || n == 0x41 ? 0xee : 0x8e, 0);
  idt[12 * 2] = gate(8, (u64)stubs + 12 * 16, 0x8e, 1); // #SS needs a stack
  *(u64 *)(tss + 1) = (u64)inner + sizeof inner;
  *(u64 *)(tss + 9) = (u64)ist1 + sizeof ist1;
  tss[25] = 0xffff << 16;
  asm volatile("lgdt %0; lidt %1; mov %2,%%ds; mov %2,%%es; mov %2,%%ss; mov %3,%%fs; mov %3,%%gs" ::"m"(gdtr), "m"(idtr), "r"(0x10), "r"(0));
  asm volatile("ltr %w0; lldt %w1" ::"r"(0x38), "r"(0x48));
  text("start\n");
  descriptors();
  system_loads();
  gates();
  faults();
  registers();
  fsgs();
  calls();
  stack_ops();
  text("done\n");
  outb(0xf4, 0);
}
