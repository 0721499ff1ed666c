// A program that the host's own processor judges: what it prints must not depend on the machine that it runs on.
// Built static, for 64 and for 32 bits; run as `judge PART...`, or without arguments for all parts.
#define _GNU_SOURCE
#include <emmintrin.h>
#include <errno.h>
#include <fenv.h>
#include <math.h>
#include <pthread.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/user.h>
#include <sys/wait.h>
#include <time.h>
#include <ucontext.h>
#include <unistd.h>
#include <asm/ldt.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;
#define WIDE (sizeof(void *) == 8)
#define PAGE 4096

static u64 hash_state;
static void hash_start(void) { hash_state = 0xcbf29ce484222325u; }
static void hash(const void *data, size_t size) {
  const u8 *bytes = data;
  for (size_t i = 0; i < size; i++) hash_state = (hash_state ^ bytes[i]) * 0x100000001b3u;
}
static void hash64(u64 value) { hash(&value, 8); }
static void show_hash(const char *name) { printf("%s %016llx\n", name, (unsigned long long)hash_state); }

static u64 random_state = 88172645463325252u;
static u64 next_random(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  return random_state ^= random_state << 17;
}

static void need(int fine, const char *what) {
  if (fine) return;
  printf("%s failed: %s\n", what, strerror(errno));
  exit(1);
}
static void *map(size_t size, int protection, int flags) {
  void *area = mmap(0, size, protection, MAP_PRIVATE | MAP_ANONYMOUS | flags, -1, 0);
  need(area != MAP_FAILED, "mmap");
  return area;
}

// ---- arithmetic

static void floats(void) {
  static const int modes[] = {FE_TONEAREST, FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO};
  hash_start();
  for (int mode = 0; mode < 4; mode++) {
    fesetround(modes[mode]);
    for (int i = 0; i < 10000; i++) {
      u64 x = next_random(), y = next_random();
      volatile double a, b;
      volatile float c, d;
      memcpy((void *)&a, &x, 8);
      memcpy((void *)&b, &y, 8);
      c = (float)a;
      d = (float)b;
      feclearexcept(FE_ALL_EXCEPT);
      double results[] = {a + b, a - b, a * b, a / b, sqrt(fabs(a)), (double)(c * d), (double)(c / d), (double)(c + d), rint(a), (double)(int)(x >> 40)};
      for (unsigned k = 0; k < sizeof results / sizeof *results; k++) {
        u64 bits;
        memcpy(&bits, &results[k], 8);
        // Which operand's NaN survives is up to the compiler's order of operands.
        hash64(results[k] != results[k] ? 0x7ff8 : bits);
      }
      hash64(fetestexcept(FE_ALL_EXCEPT));
    }
  }
  fesetround(FE_TONEAREST);
  show_hash("floats");
}

static void long_doubles(void) {
  hash_start();
  long double sum = 0, product = 1, x = 0.5L;
  for (int i = 1; i <= 20000; i++) {
    long double term = 1.0L / ((long double)i * i) + x / 3;
    u8 bits[10];
    sum += term;
    product *= 1 + term / 1000;
    x = fmodl(x * 17.25L + 0.1L, 1.0L);
    memcpy(bits, &product, 10);
    hash(bits, 10);
    hash64((u64)llrintl(sum * 1000));
    hash64((u64)(long long)truncl(term * 1e15L));
  }
  show_hash("long doubles");
  printf("%.20Lg %.20Lg %La %.20Lg\n", sum, product, x, sqrtl(2));
  // The last bits of these are nobody's promise.
  printf("%.15Lg %.15Lg %.15Lg %.15Lg %.15Lg\n", sinl(1), expl(1), logl(10), atanl(1) * 4, powl(2, 0.3L));
  printf("%.14g %.14g %.14g %.14g %.14g\n", sin(1e5), exp(-3), log(7), tan(0.7), pow(3, 50.5));
}

static void vectors(void) {
  __m128i a = _mm_set_epi32(1, -2, 3, -4), b = _mm_set1_epi16(0x1234);
  __m128d c = _mm_set_pd(1.5, -2.25);
  hash_start();
  for (int i = 0; i < 50000; i++) {
    a = _mm_add_epi32(_mm_madd_epi16(a, b), _mm_set1_epi32(i));
    b = _mm_xor_si128(_mm_packs_epi32(a, b), _mm_slli_epi64(a, 7));
    a = _mm_or_si128(_mm_unpacklo_epi8(a, b), _mm_cmpgt_epi16(a, b));
    b = _mm_sub_epi8(_mm_shufflehi_epi16(b, 0x1b), _mm_avg_epu8(a, b));
    c = _mm_add_pd(_mm_mul_pd(c, _mm_set1_pd(0.999)), _mm_cvtepi32_pd(_mm_srai_epi32(a, 20)));
    c = _mm_sqrt_pd(_mm_mul_pd(c, c));
    hash64((u64)_mm_movemask_epi8(b));
  }
  hash(&a, 16);
  hash(&b, 16);
  hash(&c, 16);
  show_hash("vectors");
}

static void integers(void) {
  hash_start();
  for (int i = 0; i < 100000; i++) {
    u64 x = next_random(), y = next_random() | 1;
    hash64(x / y + x % y + (u64)((int64_t)x / (int64_t)(y >> 3 | 1)));
    hash64((x << (y & 63)) ^ (x >> (y & 31)) ^ (u64)__builtin_popcountll(x) ^ __builtin_bswap64(y));
    hash64((u64)(int64_t)((int32_t)x * (int64_t)(int32_t)y) + (u64)((u16)x * (u8)y));
  }
  show_hash("integers");
}

// ---- faults become signals

#if __x86_64__
#define SEL(wide, narrow) wide
#else
#define SEL(wide, narrow) narrow
#endif
#if __x86_64__
#define CLOBBER "r11",
#else
#define CLOBBER
#endif
#define PUSHF SEL("pushfq\n", "pushfl\n")
#define POPF SEL("popfq\n", "popfl\n")
#define OR_FLAGS(bits) PUSHF SEL("orq $" #bits ", (%%rsp)\n", "orl $" #bits ", (%%esp)\n") POPF
#define AND_FLAGS(bits) PUSHF SEL("andq $" #bits ", (%%rsp)\n", "andl $" #bits ", (%%esp)\n") POPF

static sigjmp_buf escape;
static volatile int fault_signal, fault_code, fault_trap, fault_error;
static void *volatile fault_address;

static void on_fault(int number, siginfo_t *info, void *context) {
  ucontext_t *user = context;
  fault_signal = number;
  fault_code = info->si_code;
  fault_address = info->si_addr;
  fault_trap = (int)user->uc_mcontext.gregs[REG_TRAPNO];
  fault_error = (int)user->uc_mcontext.gregs[REG_ERR];
  siglongjmp(escape, 1);
}

static void catch_faults(void) {
  static u8 stack[65536];
  static const int signals[] = {SIGFPE, SIGILL, SIGSEGV, SIGBUS, SIGTRAP};
  stack_t alternate = {.ss_sp = stack, .ss_size = sizeof stack};
  struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO | SA_ONSTACK};
  sigaltstack(&alternate, 0);
  for (int i = 0; i < 5; i++) sigaction(signals[i], &action, 0);
}

static void show_fault(const char *name, const u8 *base) {
  long at = base && fault_signal == SIGSEGV ? (long)((u8 *)fault_address - base) : 0;
  printf("%s: signal %d code %d trap %d error %x at %ld\n", name, fault_signal, fault_code, fault_trap, fault_error, at);
}
#define FAULT(name, base, ...)                                \
  do {                                                        \
    fault_signal = fault_code = fault_trap = fault_error = 0; \
    if (!sigsetjmp(escape, 1)) {                              \
      __VA_ARGS__;                                            \
    }                                                         \
    __asm__ volatile(AND_FLAGS(~0x40500) "cld" ::: "memory", "cc"); \
    show_fault(name, base);                                   \
  } while (0)
// Inputs, then clobbers.
#define ASM(text, ...) __asm__ volatile(text :: __VA_ARGS__)

static void faults(void) {
  catch_faults();
  u8 *area = map(4 * PAGE, PROT_READ | PROT_WRITE, 0);
  mprotect(area + PAGE, PAGE, PROT_READ);
  mprotect(area + 2 * PAGE, PAGE, PROT_NONE);
  munmap(area + 3 * PAGE, PAGE);
  volatile int zero;
  FAULT("divide by zero", 0, ASM("xorl %%ecx, %%ecx\n xorl %%edx, %%edx\n idivl %%ecx", : "eax", "ecx", "edx"));
  FAULT("divide overflow", 0, ASM("cltd\n idivl %%ecx", "a"(0x80000000), "c"(-1) : "edx"));
  FAULT("ud2", 0, ASM("ud2", ));
  FAULT("int3", 0, ASM("int3", ));
  FAULT("icebp", 0, ASM(".byte 0xf1", ));
  FAULT("hlt", 0, ASM("hlt", ));
  FAULT("cli", 0, ASM("cli", ));
  FAULT("in", 0, ASM("inb $0x60, %%al", : "eax"));
  FAULT("outs", 0, ASM("outsb", "S"(area), "d"(0x60)));
  FAULT("int 0x21", 0, ASM("int $0x21", ));
  FAULT("int 3 in two bytes", 0, ASM(".byte 0xcd, 3", ));
  FAULT("int 8", 0, ASM("int $8", ));
  FAULT("mov cr3", 0, ASM("mov %%cr3, " SEL("%%rax", "%%eax"), : "eax"));
  FAULT("clts", 0, ASM("clts", ));
  FAULT("rdmsr", 0, ASM("rdmsr", "c"(0x10) : "eax", "edx"));
  FAULT("wrmsr", 0, ASM("wrmsr", "c"(0x10), "a"(0), "d"(0)));
  FAULT("bad selector", 0, ASM("mov %0, %%fs", "r"(0x7b0)));
  FAULT("null stack", 0, ASM("mov %0, %%ss", "r"(0)));
  FAULT("lock on a register", 0, ASM(".byte 0xf0, 0x01, 0xc0", ));
  FAULT("sixteen bytes", 0, ASM(".fill 15, 1, 0x66\n nop", ));
  FAULT("write read-only", area, area[PAGE + 5] = 1);
  FAULT("read nothing", area, zero = area[2 * PAGE + 9]);
  FAULT("read unmapped", area, zero = area[3 * PAGE + 1]);
  FAULT("read across", area, zero = *(volatile int *)(area + 2 * PAGE - 2));
  FAULT("write across", area, *(volatile int *)(area + PAGE - 1) = 2);
  FAULT("add across", area, *(volatile u32 *)(area + PAGE - 3) += 2);
  FAULT("exchange across", area, ASM("xchgl %%eax, (%0)", "r"(area + PAGE - 3), "a"(1) : "memory"));
  FAULT("execute data", area, ((void (*)(void))(area + 16))());
  FAULT("call unmapped", area, ((void (*)(void))(area + 3 * PAGE))());
  FAULT("movaps misaligned", 0, ASM("movaps %%xmm0, (%0)", "r"(area + 4) : "memory"));
  memset(area, 7, PAGE);
  hash_start();
  FAULT("rep stos into", area, ASM("rep stosb", "D"(area + 100), "c"(3 * PAGE), "a"(9) : "memory"));
  hash(area, PAGE);
  FAULT("rep movs from", area, ASM("rep movsl", "D"(area + 2), "S"(area + PAGE + 1), "c"(2 * PAGE) : "memory"));
  hash(area, PAGE);
  FAULT("rep movs down", area, ASM("std\n rep movsw", "D"(area + PAGE + 4), "S"(area + 40), "c"(16) : "memory"));
  hash(area, PAGE);
  show_hash("strings left");
  FAULT("alignment", 0, ASM(OR_FLAGS(0x40000) "movl 1(%0), %%eax", "r"(area) : "eax", "memory", "cc"));
#if __x86_64__
  FAULT("not canonical", 0, zero = *(volatile int *)0x800000000000);
  FAULT("not canonical stack", 0, ASM("mov %0, %%rbp\n mov (%%rbp), %%eax", "r"(0x123456789abcdef0) : "eax", "rbp"));
  FAULT("jump not canonical", 0, ASM("jmp *%0", "r"(0x800000000000)));
  FAULT("push es", 0, ASM(".byte 0x06", ));
  FAULT("aam", 0, ASM(".byte 0xd4, 10", ));
#else
  FAULT("into", 0, ASM("movb $0x7f, %%al\n addb $1, %%al\n into", : "eax"));
  int limits[2] = {1, 5};
  FAULT("bound", 0, ASM("bound %0, %1", "r"(9), "m"(limits[0])));
  FAULT("aam by zero", 0, ASM(".byte 0xd4, 0", : "eax"));
  FAULT("far call to data", 0, ASM("lcall $0x2b, $0", ));
#endif
  (void)zero;
  FAULT("far call beyond", 0, ASM("lcall *(%0)", "r"(((u16[]){0, 0, 0x1ff8})) : "memory"));
}

static void exceptions(void) {
  static const int kinds[] = {FE_INVALID, FE_DIVBYZERO, FE_OVERFLOW, FE_UNDERFLOW, FE_INEXACT};
  volatile double zero = 0, one = 1, huge = 1e300, tiny = 1e-300, three = 3, result;
  volatile long double zeros = 0, ones = 1, huges = 1e4900L, tinies = 1e-4900L, threes = 3, results;
  catch_faults();
  for (int i = 0; i < 5; i++) {
    FAULT("sse", 0, feclearexcept(FE_ALL_EXCEPT); feenableexcept(kinds[i]);
          switch (i) { case 0: result = zero / zero; break; case 1: result = one / zero; break; case 2: result = huge * huge; break;
                       case 3: result = tiny * tiny; break; default: result = one / three; });
    fedisableexcept(FE_ALL_EXCEPT);
    feclearexcept(FE_ALL_EXCEPT);
    FAULT("x87", 0, feenableexcept(kinds[i]);
          switch (i) { case 0: results = zeros / zeros; break; case 1: results = ones / zeros; break; case 2: results = huges * huges; break;
                       case 3: results = tinies * tinies; break; default: results = ones / threes; }
          ASM("fwait", ));
    fedisableexcept(FE_ALL_EXCEPT);
    __asm__ volatile("fninit");
    feclearexcept(FE_ALL_EXCEPT);
  }
  (void)result;
  (void)results;
}

// ---- single step, breakpoints, watchpoints

__attribute__((naked, noinline, used)) static void stepped(void) {
  __asm__ volatile(
      "movl $700, %ecx\n xorl %eax, %eax\n movl $1, %edx\n"
      "1: addl %ecx, %eax\n roll $3, %eax\n adcl %edx, %edx\n xorl %eax, %edx\n imull $7, %edx, %edx\n"
      "testl $1, %ecx\n jz 2f\n subl $5, %eax\n cmc\n"
      "2: bswap %edx\n decl %ecx\n jnz 1b\n ret\n");
}
static volatile int watched;

static void step_child(void) {
  ptrace(PTRACE_TRACEME, 0, 0, 0);
  raise(SIGSTOP);
  __asm__ volatile("xorl %%eax, %%eax\n xorl %%ecx, %%ecx\n xorl %%edx, %%edx\n call *%0" ::"r"(stepped) : "eax", "ecx", "edx", "cc", "memory");
  watched = 1;
  watched = 2;
  raise(SIGUSR1);
  __asm__ volatile("xorl %%eax, %%eax\n xorl %%ecx, %%ecx\n xorl %%edx, %%edx\n call *%0" ::"r"(stepped) : "eax", "ecx", "edx", "cc", "memory");
  _exit(3);
}

#define PC(regs) SEL((regs).rip, (regs).eip)
#define ACC(regs) SEL((regs).rax, (regs).eax)
#define CNT(regs) SEL((regs).rcx, (regs).ecx)
#define DAT(regs) SEL((regs).rdx, (regs).edx)

static void poke_debug(pid_t child, int number, unsigned long value) {
  need(ptrace(PTRACE_POKEUSER, child, (void *)(offsetof(struct user, u_debugreg) + (size_t)number * sizeof(long)), (void *)value) == 0, "debug register");
}

static void steps(void) {
  struct user_regs_struct regs;
  int status, count = 0;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) step_child();
  waitpid(child, &status, 0);
  poke_debug(child, 0, (unsigned long)stepped);
  poke_debug(child, 7, 1);
  ptrace(PTRACE_CONT, child, 0, 0);
  waitpid(child, &status, 0);
  ptrace(PTRACE_GETREGS, child, 0, &regs);
  printf("breakpoint: %d at %ld\n", WSTOPSIG(status), (long)(PC(regs) - (unsigned long)stepped));
  poke_debug(child, 7, 0);
  hash_start();
  do {
    ptrace(PTRACE_GETREGS, child, 0, &regs);
    unsigned long at = (unsigned long)PC(regs) - (unsigned long)stepped;
    if (at >= 80) break;
    hash64(at);
    hash64((u32)ACC(regs));
    hash64((u32)CNT(regs));
    hash64((u32)DAT(regs));
    // Without the flags that the instructions leave undefined.
    hash64(regs.eflags & 0x401);
    count++;
    ptrace(PTRACE_SINGLESTEP, child, 0, 0);
    waitpid(child, &status, 0);
  } while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
  printf("steps: %d\n", count);
  show_hash("steps");
  poke_debug(child, 1, (unsigned long)&watched);
  poke_debug(child, 7, 4 | 0xd00000);
  for (int i = 0; i < 2; i++) {
    ptrace(PTRACE_CONT, child, 0, 0);
    waitpid(child, &status, 0);
    printf("watchpoint: %d, value %ld\n", WSTOPSIG(status), ptrace(PTRACE_PEEKDATA, child, &watched, 0) & 0xff);
  }
  ptrace(PTRACE_CONT, child, 0, 0);
  waitpid(child, &status, 0);
  printf("signal: %d\n", WSTOPSIG(status));
  poke_debug(child, 7, 0);
  ptrace(PTRACE_CONT, child, 0, 0);
  waitpid(child, &status, 0);
  printf("ended: %d\n", WEXITSTATUS(status));
}

static volatile int trap_count;
static void on_trap(int number, siginfo_t *info, void *context) {
  (void)number;
  (void)info;
  (void)context;
  trap_count++;
}
static void trap_flag(void) {
  struct sigaction action = {.sa_sigaction = on_trap, .sa_flags = SA_SIGINFO};
  sigaction(SIGTRAP, &action, 0);
  trap_count = 0;
  __asm__ volatile(OR_FLAGS(0x100) "nop\n nop\n mov %%ss, %%eax\n mov %%eax, %%ss\n nop\n movl $20, %%eax\n " SEL("syscall", "int $0x80") "\n nop\n" AND_FLAGS(~0x100) ::
                       : "eax", "ecx", CLOBBER "cc", "memory");
  printf("trap flag: %d\n", trap_count);
}

// ---- code that changes itself

static void self_modifying(void) {
  u8 *code = map(2 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, 0);
  u32 sum = 0;
  for (u32 i = 0; i < 20000; i++) {
    u8 *at = code + (i * 7) % (PAGE + 100);
    u8 body[] = {0xb8, (u8)i, (u8)(i >> 8), 0, 0, 0x05, 1, 0, 0, 0, 0xc3};
    memcpy(at, body, sizeof body);
    sum += ((u32(*)(void))at)();
    at[6] = 3;
    sum = sum * 31 + ((u32(*)(void))at)();
  }
  printf("patched calls: %08x\n", sum);
  // A loop that changes the operand of its own next instruction: movb %cl, the add's byte.
  static const u8 loop[] = {0xb9, 200, 0, 0, 0, 0x31, 0xc0, 0x88, 0x0d, 0, 0, 0, 0, 0x05, 0, 0, 0, 0, 0xff, 0xc9, 0x75, 0xf1, 0xc3};
  memcpy(code, loop, sizeof loop);
  u32 target = WIDE ? 1 : (u32)(size_t)(code + 14);
  memcpy(code + 9, &target, 4);
  printf("own operand: %u\n", ((u32(*)(void))code)());
  // The same page by two addresses: what is written by one is executed by the other.
  int file = memfd_create("code", 0);
  need(file >= 0 && ftruncate(file, PAGE) == 0, "memfd");
  u8 *writable = mmap(0, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  u8 *runnable = mmap(0, PAGE, PROT_READ | PROT_EXEC, MAP_SHARED, file, 0);
  sum = 0;
  for (u32 i = 0; i < 2000; i++) {
    u8 body[] = {0xb8, (u8)i, (u8)(i >> 3), 0, 0, 0xc3};
    memcpy(writable, body, sizeof body);
    sum = sum * 33 + ((u32(*)(void))runnable)();
  }
  printf("by another address: %08x\n", sum);
}

// ---- segments

static int set_ldt(unsigned entry, unsigned long base, unsigned limit, int code, int wide, int pages) {
  struct user_desc descriptor = {.entry_number = entry, .base_addr = base, .limit = limit, .seg_32bit = wide, .contents = code ? 2 : 0, .limit_in_pages = pages, .useable = 1};
  return (int)syscall(SYS_modify_ldt, 0x11, &descriptor, sizeof descriptor);
}

static void segments(void) {
  catch_faults();
  u8 *low = map(4 * PAGE, PROT_READ | PROT_WRITE | PROT_EXEC, MAP_32BIT);
  for (int i = 0; i < PAGE; i++) low[i] = (u8)(i * 7);
  need(set_ldt(0, (unsigned long)low, 0xff, 0, 1, 0) == 0, "modify_ldt");
  u32 value = 0;
  // The other one is the C library's.
  __asm__ volatile("mov %1, %%" SEL("gs", "fs") "\n movl %%" SEL("gs", "fs") ":16, %0" : "=&r"(value) : "r"(7));
  printf("by a segment: %08x\n", value);
  FAULT("bad entry", 0, ASM("mov %0, %%es", "r"(0x1007)));
#if !__x86_64__
  FAULT("beyond the limit", 0, ASM("movl %%fs:0xfd, %%eax", : "eax"));
  FAULT("write beyond the limit", 0, ASM("movw %%ax, %%fs:0xff", : "memory"));
  __asm__ volatile("mov %0, %%fs" ::"r"(0));
  FAULT("null segment", 0, ASM("movl %%fs:16, %%eax", : "eax"));
  // 16-bit code: mov ax, 0x1234; add ax, [bx+si]; retf, with an operand prefix to return to 32 bits.
  static const u8 body[] = {0xb8, 0x34, 0x12, 0x03, 0x00, 0x05, 0xff, 0xff, 0x66, 0xcb};
  memcpy(low + PAGE, body, sizeof body);
  // 64-bit kernels may be built without 16-bit segments.
  if (set_ldt(1, (unsigned long)low + PAGE, 0xffff, 1, 0, 0) != 0) {
    printf("16-bit code: refused\n");
    return;
  }
  struct { u32 offset; u16 selector; } __attribute__((packed)) far = {0, 15};
  u32 result;
  __asm__ volatile("push %%ds\n mov %3, %%ds\n lcall *%%ss:(%2)\n pop %%ds" : "=&a"(result) : "b"(3), "D"(&far), "r"(7), "S"(4) : "cc", "memory");
  printf("16-bit code: %08x\n", result & 0xffff);
#else
  // Down to compatibility mode and back: mov eax, 0x12345678; dec eax (a REX prefix in 64-bit mode); retf.
  static const u8 body[] = {0xb8, 0x78, 0x56, 0x34, 0x12, 0x48, 0xcb};
  memcpy(low + PAGE, body, sizeof body);
  struct { u32 offset; u16 selector; } __attribute__((packed)) far = {(u32)(size_t)low + PAGE, 0x23};
  u64 result;
  u8 *stack = low + 3 * PAGE;
  __asm__ volatile("mov %%rsp, %%rbx\n mov %2, %%rsp\n lcall *(%1)\n mov %%rbx, %%rsp" : "=&a"(result) : "D"(&far), "S"(stack) : "rbx", "cc", "memory");
  printf("compatibility mode: %016llx\n", (unsigned long long)result);
  int error;
  __asm__ volatile("int $0x80" : "=a"(error) : "a"(6), "b"(-1), "c"(0) : "memory");
  printf("int 0x80 in 64-bit code: %d\n", error);
#endif
}

// ---- processes, signals, time

static volatile int handled;
static void on_count(int number) {
  (void)number;
  handled++;
  // What a handler does to the registers is undone when it returns.
  __asm__ volatile("fninit\n fld1\n pxor %%xmm0, %%xmm0\n pxor %%xmm7, %%xmm7" ::: "xmm0", "xmm7");
}

static void processes(void) {
  int status;
  long sum = 0;
  fflush(stdout);
  for (int i = 0; i < 1000; i++) {
    pid_t child = fork();
    if (child == 0) _exit(i & 127);
    waitpid(child, &status, 0);
    sum += WEXITSTATUS(status);
  }
  printf("forks: %ld\n", sum);
  u8 *shared = map(64 * PAGE, PROT_READ | PROT_WRITE, 0);
  memset(shared, 1, 64 * PAGE);
  pid_t child = fork();
  if (child == 0) {
    for (int i = 0; i < 64; i++) shared[i * PAGE] = 2;
    long total = 0;
    for (int i = 0; i < 64 * PAGE; i++) total += shared[i];
    _exit((int)(total % 101));
  }
  waitpid(child, &status, 0);
  long total = 0;
  for (int i = 0; i < 64 * PAGE; i++) total += shared[i];
  printf("copy on write: %d %ld\n", WEXITSTATUS(status), total);
  child = fork();
  if (child == 0) for (;;) pause();
  kill(child, SIGSTOP);
  waitpid(child, &status, WUNTRACED);
  printf("stopped: %d\n", WIFSTOPPED(status) && WSTOPSIG(status) == SIGSTOP);
  kill(child, SIGCONT);
  waitpid(child, &status, WCONTINUED);
  printf("continued: %d\n", WIFCONTINUED(status));
  kill(child, SIGTERM);
  waitpid(child, &status, 0);
  printf("killed: %d\n", WTERMSIG(status));
}

static void pipes(void) {
  int forth[2], back[2];
  need(pipe(forth) == 0 && pipe(back) == 0, "pipe");
  fflush(stdout);
  pid_t child = fork();
  static u8 block[65536];
  if (child == 0) {
    close(forth[1]);
    ssize_t got;
    hash_start();
    while ((got = read(forth[0], block, sizeof block)) > 0) hash(block, (size_t)got);
    need(write(back[1], &hash_state, 8) == 8, "write");
    _exit(0);
  }
  close(forth[0]);
  for (int i = 0; i < 32; i++) {
    for (int k = 0; k < 65536; k += 8) *(u64 *)(block + k) = next_random();
    for (size_t at = 0; at < sizeof block;) {
      ssize_t put = write(forth[1], block + at, sizeof block - at);
      need(put > 0, "write");
      at += (size_t)put;
    }
  }
  close(forth[1]);
  need(read(back[0], &hash_state, 8) == 8, "read");
  waitpid(child, 0, 0);
  show_hash("pipe");
}

static u64 now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (u64)time.tv_sec * 1000000000u + (u64)time.tv_nsec;
}

static void timers(void) {
  static const long sleeps[] = {1000, 100000, 3000000, 50000000, 300000000};
  for (int i = 0; i < 5; i++) {
    struct timespec time = {0, sleeps[i]};
    u64 start = now();
    nanosleep(&time, 0);
    long late = (long)(now() - start) - sleeps[i];
    // A busy host may be late; nobody may be early.
    printf("sleep %ld: %s\n", sleeps[i], late < 0 ? "early" : late < 20000000 ? "in time" : "late");
  }
  struct sigaction action = {.sa_handler = on_count};
  struct itimerval every = {{0, 5000}, {0, 5000}};
  sigaction(SIGALRM, &action, 0);
  handled = 0;
  u64 start = now();
  setitimer(ITIMER_REAL, &every, 0);
  double sum = 0;
  long double fine = 1;
  u64 rounds = 0;
  while (handled < 40) {
    fine = fine * 1.5L - (long double)(rounds & 1);
    if (fine > 2 || fine < -2) fine = 0.25L;
    sum += 0.5;
    rounds++;
  }
  memset(&every, 0, sizeof every);
  setitimer(ITIMER_REAL, &every, 0);
  u64 took = now() - start;
  printf("interval timer: %s, sums %s\n", took >= 195000000 && took < 400000000 ? "in time" : "off", sum == 0.5 * (double)rounds ? "kept" : "lost");
  u64 last = 0, backwards = 0;
  for (int i = 0; i < 20000; i++) {
    u64 time = now();
    if (time < last) backwards++;
    last = time;
  }
  printf("backwards: %llu\n", (unsigned long long)backwards);
  alarm(1);
  start = now();
  handled = 0;
  pause();
  took = now() - start;
  printf("alarm: %s\n", handled == 1 && took > 950000000 && took < 1300000000 ? "in time" : "off");
}

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static long counter;
static __thread long own_counter;
static u32 spin_counter;
static void *thread(void *argument) {
  for (int i = 0; i < 5000; i++) {
    pthread_mutex_lock(&mutex);
    counter += (long)(size_t)argument;
    pthread_mutex_unlock(&mutex);
    __sync_fetch_and_add(&spin_counter, 3);
    own_counter++;
    if (i % 1000 == 0) sched_yield();
  }
  return (void *)own_counter;
}
static void threads(void) {
  pthread_t all[8];
  long own = 0;
  for (size_t i = 0; i < 8; i++) need(pthread_create(&all[i], 0, thread, (void *)(i + 1)) == 0, "thread");
  for (int i = 0; i < 8; i++) {
    void *result;
    pthread_join(all[i], &result);
    own += (long)result;
  }
  printf("threads: %ld %ld %u\n", counter, own, spin_counter);
}

static void memory(void) {
  catch_faults();
  size_t pages = 4000;
  u8 *area = map(pages * PAGE, PROT_READ | PROT_WRITE, 0);
  hash_start();
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < pages; i++) *(u32 *)(area + ((i * 1237) % pages) * PAGE + (i & 1023) * 4) += (u32)i;
    for (size_t i = 0; i < pages; i += 3) madvise(area + i * PAGE, PAGE, MADV_DONTNEED);
  }
  for (size_t i = 0; i < pages; i++) hash64(*(u32 *)(area + i * PAGE + ((i * 7) & 1023) * 4));
  show_hash("memory");
  int caught = 0;
  for (int i = 0; i < 3000; i++) {
    u8 *page = area + (size_t)i * PAGE;
    mprotect(page, PAGE, i & 1 ? PROT_READ : PROT_NONE);
    if (!sigsetjmp(escape, 1)) *page = 1;
    else caught++;
    mprotect(page, PAGE, PROT_READ | PROT_WRITE);
    *page = 2;
  }
  printf("caught: %d\n", caught);
  u8 *moved = mremap(area, pages * PAGE, 2 * pages * PAGE, MREMAP_MAYMOVE);
  long total = 0;
  for (size_t i = 0; i < 2 * pages; i++) total += moved[i * PAGE];
  printf("moved: %ld\n", total);
}

static const struct { const char *name; void (*run)(void); } parts[] = {
    {"integers", integers}, {"floats", floats}, {"long-doubles", long_doubles}, {"vectors", vectors}, {"faults", faults},
    {"exceptions", exceptions}, {"steps", steps}, {"trap-flag", trap_flag}, {"self-modifying", self_modifying}, {"segments", segments},
    {"processes", processes}, {"pipes", pipes}, {"threads", threads}, {"memory", memory}, {"timers", timers},
};

int main(int count, char **names) {
  setvbuf(stdout, 0, _IOLBF, 0);
  for (unsigned i = 0; i < sizeof parts / sizeof *parts; i++) {
    int wanted = count < 2;
    for (int k = 1; k < count; k++) wanted |= strcmp(names[k], parts[i].name) == 0;
    if (!wanted) continue;
    random_state = 88172645463325252u;
    printf("[%s]\n", parts[i].name);
    parts[i].run();
  }
  return 0;
}
