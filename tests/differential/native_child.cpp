// No C library in here, and no instrumentation (see CMakeLists.txt): all of theirs is unmapped.
#include "native_child.hpp"

#include <asm/prctl.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/rseq.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>

#include "x86/exception.hpp"

// By the linker: the image's first byte, and the one behind its last.
extern "C" const char __executable_start[], _end[];

namespace vellum::differential {
namespace {

constexpr u16 kCs64 = 0x33, kCs32 = 0x23, kSs = 0x2b;  // Linux's user selectors
constexpr u64 kSwReserved = 464;                       // sw_reserved in the frame's legacy area, to be kept
constexpr u64 kUserEnd = 0x7fff'ffff'f000;

enum ExitStatus : int { kNoCaseSpace = 101, kNoRseq, kNoSignals, kNoJail };

// What the signal handler must find.
struct ChildState {
  u32 next;      // the case that runs or comes next
  bool running;  // a case has been started
  bool until_int3;
};
ChildState* const kState = reinterpret_cast<ChildState*>(kRig);
Shared* const kCommon = reinterpret_cast<Shared*>(kShared);

inline long raw_syscall(long number, long a = 0, long b = 0, long c = 0, long d = 0, long e = 0, long f = 0) {
  long result;
  register long r10 asm("r10") = d;
  register long r8 asm("r8") = e;
  register long r9 asm("r9") = f;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
               : "rcx", "r11", "memory");
  return result;
}
[[noreturn]] void give_up(ExitStatus status) {
  for (;;) raw_syscall(SYS_exit_group, status);
}
void copy_bytes(void* to, const void* from, u64 n) {
  asm volatile("rep movsb" : "+D"(to), "+S"(from), "+c"(n) : : "memory");
}
void set_bytes(void* to, u8 value, u64 n) {
  asm volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(value) : "memory");
}

// The order of ucontext's registers by x86 register number.
constexpr int kFrameIndex[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                 REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};

u8* frame_fp(ucontext_t* context) {
  return reinterpret_cast<u8*>(context->uc_mcontext.fpregs);
}

}  // namespace

void fill_data(u64 seed, u8* bytes, std::size_t size) {
  u64 x = seed | 1;
  for (std::size_t i = 0; i < size; i += 8) {
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    *reinterpret_cast<u64*>(bytes + i) = x;
  }
}

namespace {

void read_outcome(ucontext_t* context, Outcome& o) {
  const auto& g = context->uc_mcontext.gregs;
  for (unsigned r = 0; r < 16; ++r) o.out.gpr[r] = static_cast<u64>(g[kFrameIndex[r]]);
  o.out.rip = static_cast<u64>(g[REG_RIP]);
  o.out.rflags = static_cast<u64>(g[REG_EFL]);
  const u8* fp = frame_fp(context);
  copy_bytes(o.out.fp.legacy.data(), fp, kSwReserved);
  set_bytes(o.out.fp.legacy.data() + kSwReserved, 0, 512 - kSwReserved);
  const u64 features = *reinterpret_cast<const u64*>(fp + 512);
  // A component in its initial state need not be in the image.
  if ((features & 4) != 0)
    copy_bytes(o.out.fp.ymm_high.data(), fp + 576, 256);
  else
    set_bytes(o.out.fp.ymm_high.data(), 0, 256);
  if ((features & 2) == 0) set_bytes(o.out.fp.legacy.data() + 160, 0, 256);
  if ((features & 1) == 0) {
    set_bytes(o.out.fp.legacy.data(), 0, 24);
    o.out.fp.fcw() = 0x37f;
    set_bytes(o.out.fp.legacy.data() + 32, 0, 128);
  }
  const auto trap = static_cast<u8>(g[REG_TRAPNO]);
  o.vector = trap;
  if (trap == x86::kDb) o.vector = kNoFault;
  if (trap == x86::kBp && kState->until_int3) {
    o.vector = kNoFault;
    --o.out.rip;
  }
  o.error_code = static_cast<u32>(g[REG_ERR]);
  o.cr2 = static_cast<u64>(g[REG_CR2]);
  copy_bytes(o.data.data(), reinterpret_cast<void*>(kReadWrite), kWritableBytes);
}

void start_case(ucontext_t* context, const Case& c) {
  auto& g = context->uc_mcontext.gregs;
  u8* code_page = reinterpret_cast<u8*>(kCodeAlias);
  set_bytes(code_page, 0xcc, kPageSize);
  copy_bytes(code_page + (c.in.rip - kCode), c.code.data(), c.length);
  fill_data(c.data_seed, reinterpret_cast<u8*>(kReadWrite), kWritableBytes);
  for (unsigned r = 0; r < 16; ++r) g[kFrameIndex[r]] = static_cast<greg_t>(c.in.gpr[r]);
  g[REG_RIP] = static_cast<greg_t>(c.in.rip);
  // TF would end a repeated instruction after its first iteration: there the INT3 that follows does it.
  kState->until_int3 = c.repeated;
  g[REG_EFL] = static_cast<greg_t>(c.in.rflags | (c.repeated ? 0 : x86::rflags::kTf));
  const u64 cs = c.compat ? kCs32 : kCs64;
  g[REG_CSGSFS] = static_cast<greg_t>(cs | (u64{kSs} << 48));
  u8* fp = frame_fp(context);
  copy_bytes(fp, c.in.fp.legacy.data(), kSwReserved);
  *reinterpret_cast<u64*>(fp + 512) |= 7;
  copy_bytes(fp + 576, c.in.fp.ymm_high.data(), 256);
}

void wait_for_turn() {
  while (kCommon->turn.load(std::memory_order_acquire) != 1)
    raw_syscall(SYS_futex, kShared + offsetof(Shared, turn), FUTEX_WAIT, 0);
}

void on_signal(int, siginfo_t*, void* frame) {
  auto* context = static_cast<ucontext_t*>(frame);
  if (kState->running) {
    read_outcome(context, kCommon->outcomes[kState->next]);
    ++kState->next;
  }
  if (!kState->running || kState->next == kCommon->count) {
    if (kState->running) {
      kCommon->turn.store(0, std::memory_order_release);
      raw_syscall(SYS_futex, kShared + offsetof(Shared, turn), FUTEX_WAKE, 1);
    }
    wait_for_turn();
    kState->next = 0;
    kState->running = true;
  }
  start_case(context, kCommon->cases[kState->next]);
}

// Where on_signal returns to.
extern "C" void vellum_differential_sigreturn();
asm(".pushsection .text\n"
    "vellum_differential_sigreturn:\n\t"
    "mov $15, %eax\n\t"  // SYS_rt_sigreturn
    "syscall\n"
    ".popsection");

// As the kernel has it; the C library's puts its own restorer in.
struct KernelSigaction {
  void (*handler)(int, siginfo_t*, void*);
  u64 flags;
  void (*restorer)();
  u64 mask;
};
constexpr u64 kSaRestorer = 0x0400'0000;

bool take_signals() {
  const stack_t stack{
      .ss_sp = reinterpret_cast<void*>(kSignalStack), .ss_flags = 0, .ss_size = kSignalStackBytes};
  if (raw_syscall(SYS_sigaltstack, reinterpret_cast<long>(&stack)) != 0) return false;
  const KernelSigaction action{&on_signal, SA_SIGINFO | SA_ONSTACK | SA_NODEFER | kSaRestorer,
                               &vellum_differential_sigreturn, 0};
  for (const int number : {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE})
    if (raw_syscall(SYS_rt_sigaction, number, reinterpret_cast<long>(&action), 0, sizeof action.mask) != 0)
      return false;
  return true;
}

// Only what the handler needs; anything else ends the child, and the parent reports it.
bool enter_jail() {
  const sock_filter filter[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, arch)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 0, 3),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_rt_sigreturn, 2, 0),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_futex, 1, 0),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_KILL_PROCESS),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog program{sizeof filter / sizeof filter[0], const_cast<sock_filter*>(filter)};
  // A base of FS that is not 0 would come back at each context switch where the host has no FSGSBASE.
  return raw_syscall(SYS_arch_prctl, ARCH_SET_FS, 0) == 0 &&
         raw_syscall(SYS_prctl, PR_SET_NO_NEW_PRIVS, 1) == 0 &&
         raw_syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, reinterpret_cast<long>(&program)) == 0;
}

bool map_fixed(u64 address, u64 size, int protection, int flags, int fd = -1) {
  const long got = raw_syscall(SYS_mmap, static_cast<long>(address), static_cast<long>(size), protection,
                               flags | MAP_FIXED_NOREPLACE, fd, 0);
  return got == static_cast<long>(address);
}

bool map_case_space() {
  const long fd = raw_syscall(SYS_memfd_create, reinterpret_cast<long>("code"), 0);
  const int code = static_cast<int>(fd);
  if (fd < 0 || raw_syscall(SYS_ftruncate, code, kPageSize) != 0) return false;
  const int rw = PROT_READ | PROT_WRITE;
  const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  if (!map_fixed(kCode, kPageSize, PROT_READ | PROT_EXEC, MAP_SHARED, code)) return false;
  if (!map_fixed(kCodeAlias, kPageSize, rw, MAP_SHARED, code)) return false;
  if (!map_fixed(kReadWrite, kDataPages * kPageSize, rw, anonymous)) return false;
  fill_data(0, reinterpret_cast<u8*>(kReadOnly), kPageSize);
  if (raw_syscall(SYS_mprotect, kReadOnly, kPageSize, PROT_READ) != 0) return false;
  return map_fixed(kRig, kCodeAlias - kRig, rw, anonymous);
}

// The kernel writes to the thread's restartable-sequence area, which the C library has registered, whenever
// it likes; it must forget it first. How long that area was said to be differs between libraries.
bool leave_rseq() {
  if (__rseq_size == 0) return true;  // not registered
  const long area = reinterpret_cast<long>(__builtin_thread_pointer()) + __rseq_offset;
  for (const long size : {static_cast<long>(__rseq_size), 32L, 64L, 96L, 128L})
    if (raw_syscall(SYS_rseq, area, size, RSEQ_FLAG_UNREGISTER, RSEQ_SIG) == 0) return true;
  return false;
}

// Halves what cannot go as a whole: a kernel may have sealed its vDSO. The parent sees what is left.
void unmap(u64 begin, u64 end) {
  if (begin >= end || raw_syscall(SYS_munmap, static_cast<long>(begin), static_cast<long>(end - begin)) == 0)
    return;
  if (end - begin == kPageSize) return;
  const u64 middle = (begin + (end - begin) / 2) & ~kPageMask;
  unmap(begin, middle);
  unmap(middle, end);
}

void unmap_all_else() {
  Range kept[] = {kCodeMemory, kDataMemory, program_memory(), kRigMemory};
  for (unsigned i = 1; i < std::size(kept); ++i)  // by address; a program's may be low or high
    for (unsigned j = i; j > 0 && kept[j].begin < kept[j - 1].begin; --j) std::swap(kept[j], kept[j - 1]);
  u64 at = 0;
  for (const Range& range : kept) {
    unmap(at, range.begin);
    at = range.end;
  }
  unmap(at, kUserEnd);
}

// On the first stack of the rig.
[[noreturn]] void live_in_the_rig() {
  unmap_all_else();
  if (!take_signals()) give_up(kNoSignals);
  if (!enter_jail()) give_up(kNoJail);
  // FS and GS become null segments with base 0, as the guest's.
  asm volatile(
      "mov %0, %%ds\n\tmov %0, %%es\n\t"
      "xor %%eax, %%eax\n\tmov %%eax, %%fs\n\tmov %%eax, %%gs\n\t"
      "int3"
      :
      : "r"(u32{kSs})
      : "rax", "memory");
  __builtin_trap();
}

}  // namespace

Range program_memory() {
  return {reinterpret_cast<u64>(__executable_start) & ~kPageMask,
          (reinterpret_cast<u64>(_end) + kPageMask) & ~kPageMask};
}

void live_as_child(Shared* shared) {
  raw_syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
  if (!map_case_space()) give_up(kNoCaseSpace);
  if (raw_syscall(SYS_mremap, reinterpret_cast<long>(shared), kSharedBytes, kSharedBytes,
                  MREMAP_MAYMOVE | MREMAP_FIXED, kShared) != static_cast<long>(kShared))
    give_up(kNoCaseSpace);
  if (!leave_rseq()) give_up(kNoRseq);
  asm volatile(
      "mov %0, %%rsp\n\t"
      "xor %%ebp, %%ebp\n\t"
      "call *%1"
      :
      : "r"(kFirstStack + kFirstStackBytes), "r"(&live_in_the_rig)
      : "memory");
  __builtin_unreachable();
}

const char* text_of_child_exit(int status) {
  switch (status) {
    case kNoCaseSpace:
      return "it cannot map the case's memory or the rig's";
    case kNoRseq:
      return "it cannot give its restartable-sequence area back";
    case kNoSignals:
      return "it cannot take signals";
    case kNoJail:
      return "it cannot enter its seccomp jail";
    default:
      return "unexpectedly";
  }
}

}  // namespace vellum::differential
