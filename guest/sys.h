// Linux system calls without a C library, for amd64 and i386. Numbers: arch/x86/entry/syscalls of Linux.
typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;
typedef long word;
typedef unsigned long size_t;

#define NULL ((void *)0)

#ifdef __x86_64__

#define BITS 64
enum {
    SYS_read = 0, SYS_write = 1, SYS_open = 2, SYS_close = 3, SYS_ioctl = 16, SYS_dup2 = 33, SYS_getpid = 39, SYS_socket = 41, SYS_bind = 49,
    SYS_clone = 56, SYS_execve = 59, SYS_exit = 60, SYS_wait4 = 61, SYS_kill = 62, SYS_uname = 63, SYS_fcntl = 72, SYS_chdir = 80, SYS_mkdir = 83,
    SYS_symlink = 88, SYS_fchown = 93, SYS_setuid = 105, SYS_setgid = 106, SYS_setsid = 112, SYS_setgroups = 116, SYS_sync = 162, SYS_mount = 165,
    SYS_umount2 = 166, SYS_reboot = 169, SYS_sethostname = 170, SYS_getdents64 = 217, SYS_ppoll = 271, SYS_signalfd4 = 289, SYS_pipe2 = 293,
    SYS_finit_module = 313, SYS_rt_sigprocmask = 14,
};

static inline word syscall5(word number, word a, word b, word c, word d, word e) {
    register word r10 __asm__("r10") = d;
    register word r8 __asm__("r8") = e;
    word result;
    __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8) : "rcx", "r11", "memory");
    return result;
}

__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %rsp,%rdi\n and $-16,%rsp\n call start\n");

#else

#define BITS 32
enum {
    SYS_exit = 1, SYS_read = 3, SYS_write = 4, SYS_open = 5, SYS_close = 6, SYS_execve = 11, SYS_chdir = 12, SYS_getpid = 20, SYS_mount = 21,
    SYS_sync = 36, SYS_kill = 37, SYS_mkdir = 39, SYS_umount2 = 52, SYS_ioctl = 54, SYS_dup2 = 63, SYS_setsid = 66, SYS_sethostname = 74,
    SYS_symlink = 83, SYS_reboot = 88, SYS_socketcall = 102, SYS_wait4 = 114, SYS_clone = 120, SYS_uname = 122, SYS_rt_sigprocmask = 175,
    SYS_setgroups = 206, SYS_fchown = 207, SYS_setuid = 213, SYS_setgid = 214, SYS_getdents64 = 220, SYS_fcntl = 221, SYS_ppoll = 309,
    SYS_signalfd4 = 327, SYS_pipe2 = 331, SYS_finit_module = 350,
};

static inline word syscall5(word number, word a, word b, word c, word d, word e) {
    word result;
    __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e) : "memory");
    return result;
}

__asm__(".globl _start\n_start:\n xor %ebp,%ebp\n mov %esp,%eax\n and $-16,%esp\n sub $12,%esp\n push %eax\n call start\n");

#endif

#define SELECT(_1, _2, _3, _4, _5, name, ...) name
#define W(x) ((word)(x))
#define call1(n, a) syscall5(n, W(a), 0, 0, 0, 0)
#define call2(n, a, b) syscall5(n, W(a), W(b), 0, 0, 0)
#define call3(n, a, b, c) syscall5(n, W(a), W(b), W(c), 0, 0)
#define call4(n, a, b, c, d) syscall5(n, W(a), W(b), W(c), W(d), 0)
#define call5(n, a, b, c, d, e) syscall5(n, W(a), W(b), W(c), W(d), W(e))
#define sys(n, ...) SELECT(__VA_ARGS__, call5, call4, call3, call2, call1)(n, __VA_ARGS__)

enum { ENOENT = 2, EINTR = 4, EIO = 5, ENOEXEC = 8, EAGAIN = 11, EACCES = 13, EBUSY = 16, EEXIST = 17, ENOTDIR = 20, EPIPE = 32, ENAMETOOLONG = 36, EPROTO = 71 };
enum { O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_NOCTTY = 0400, O_NONBLOCK = 04000, O_DIRECTORY = 0200000, O_CLOEXEC = 02000000 };
enum { F_GETFL = 3, F_SETFL = 4 };
enum { POLLIN = 1, POLLOUT = 4, POLLERR = 8, POLLHUP = 16 };
enum { SIGHUP = 1, SIGKILL = 9, SIGTERM = 15, SIGCHLD = 17, SIG_SETMASK = 2 };
enum { MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_REMOUNT = 32 };
enum { TIOCSCTTY = 0x540e, TIOCSWINSZ = 0x5414, TIOCGPTN = (int)0x80045430, TIOCSPTLCK = 0x40045431 };
enum { SIOCGIFFLAGS = 0x8913, SIOCSIFFLAGS = 0x8914, IFF_UP = 1 };
enum { AF_INET = 2, AF_NETLINK = 16, SOCK_DGRAM = 2, SOCK_RAW = 3, SOCK_NONBLOCK = 04000, SOCK_CLOEXEC = 02000000, NETLINK_KOBJECT_UEVENT = 15 };
enum { WNOHANG = 1 };
#define REBOOT_MAGIC1 0xfee1dead
#define REBOOT_MAGIC2 672274793
#define REBOOT_RESTART 0x01234567
#define REBOOT_HALT 0xcdef0123
#define REBOOT_POWER_OFF 0x4321fedc

struct pollfd { int fd; short events, revents; };
struct timespec { word seconds, nanoseconds; };
struct winsize { u16 rows, columns, xpixel, ypixel; };
struct dirent64 { u64 ino, off; u16 reclen; u8 type; char name[]; };
struct sockaddr_nl { u16 family, pad; u32 pid, groups; };
struct ifreq { char name[16]; short flags; char rest[22]; };
struct utsname { char sysname[65], nodename[65], release[65], version[65], machine[65], domainname[65]; };

static inline void copy(void *to, const void *from, size_t bytes) {
    __asm__ volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(bytes) : : "memory");
}

static inline size_t length(const char *text) {
    size_t n = 0;
    while (text[n]) n++;
    return n;
}

static inline int equal(const char *a, const char *b) {
    while (*a && *a == *b) a++, b++;
    return *a == *b;
}

/** What follows `prefix` in `text`, or NULL. */
static inline const char *after(const char *text, const char *prefix) {
    while (*prefix) if (*text++ != *prefix++) return NULL;
    return text;
}

static inline int open_fd(const char *path, int flags) { return sys(SYS_open, path, flags | O_CLOEXEC, 0); }

static inline void close_fd(int *fd) {
    if (*fd >= 0) sys(SYS_close, *fd);
    *fd = -1;
}

static inline int make_socket(int family, int type, int protocol) {
#ifdef __x86_64__
    return sys(SYS_socket, family, type, protocol);
#else
    word arguments[] = {family, type, protocol};
    return sys(SYS_socketcall, 1, arguments);
#endif
}

static inline int bind_socket(int fd, const void *address, word bytes) {
#ifdef __x86_64__
    return sys(SYS_bind, fd, address, bytes);
#else
    word arguments[] = {fd, W(address), bytes};
    return sys(SYS_socketcall, 2, arguments);
#endif
}

static inline int fork_process(void) { return sys(SYS_clone, SIGCHLD, 0, 0, 0, 0); }

/** Reads a small file whole, terminated; -1 or its length. */
static int read_file(const char *path, char *into, int capacity) {
    int fd = open_fd(path, O_RDONLY), used = 0;
    if (fd < 0) return -1;
    while (used < capacity - 1) {
        word got = sys(SYS_read, fd, into + used, capacity - 1 - used);
        if (got <= 0) break;
        used += got;
    }
    into[used] = 0;
    close_fd(&fd);
    return used;
}
