#include "native_runner.hpp"

#include "x86/exception.hpp"

#include <asm/prctl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>

namespace vellum::differential {

struct NativeRunner::Shared {
  std::atomic<u32> turn;  // 0: parent's, 1: child's
  u32 count;
  Case cases[kBatch];
  Outcome outcomes[kBatch];
};

namespace {

constexpr u16 kCs64 = 0x33, kCs32 = 0x23, kSs = 0x2b;  // Linux's user selectors
constexpr u32 kXstateMagic = 0x46505853;               // FP_XSTATE_MAGIC1
constexpr u64 kSwReserved = 464;                       // sw_reserved in the frame's legacy area, to be kept

// What the child's signal handler must find; in the child only.
struct ChildState {
  void* shared;
  u32 next;      // the case that runs or comes next
  bool running;  // a case has been started
  bool until_int3;
};
ChildState* const kChild =
    reinterpret_cast<ChildState*>(0x6b5a'39c8'1000);  // a page mapped there by the child
// The code page's writable alias.
constexpr u64 kCodeAlias = 0x6b5a'4cd9'3000;

// The C library must not be used in here: FS does not point to its thread data any more.
inline long raw_syscall(long number, long a, long b, long c, long d = 0) {
  long result;
  register long r10 asm("r10") = d;
  asm volatile("syscall"
               : "=a"(result)
               : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10)
               : "rcx", "r11", "memory");
  return result;
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
  if (trap == x86::kBp && kChild->until_int3) {
    o.vector = kNoFault;
    --o.out.rip;
  }
  o.error_code = static_cast<u32>(g[REG_ERR]);
  o.cr2 = static_cast<u64>(g[REG_CR2]);
  copy_bytes(o.data.data(), reinterpret_cast<void*>(kReadWrite), kWritableBytes);
}

void start_case(ucontext_t* context, const Case& c) {
  auto& g = context->uc_mcontext.gregs;
  u8* code_page = reinterpret_cast<u8*>(kCodeAlias);  // its writable alias
  set_bytes(code_page, 0xcc, kPageSize);
  copy_bytes(code_page + (c.in.rip - kCode), c.code.data(), c.length);
  fill_data(c.data_seed, reinterpret_cast<u8*>(kReadWrite), kWritableBytes);
  for (unsigned r = 0; r < 16; ++r) g[kFrameIndex[r]] = static_cast<greg_t>(c.in.gpr[r]);
  g[REG_RIP] = static_cast<greg_t>(c.in.rip);
  // TF would end a repeated instruction after its first iteration: there the INT3 that follows does it.
  kChild->until_int3 = c.repeated;
  g[REG_EFL] = static_cast<greg_t>(c.in.rflags | (c.repeated ? 0 : x86::rflags::kTf));
  const u64 cs = c.compat ? kCs32 : kCs64;
  g[REG_CSGSFS] = static_cast<greg_t>(cs | (u64{kSs} << 48));
  u8* fp = frame_fp(context);
  copy_bytes(fp, c.in.fp.legacy.data(), kSwReserved);
  *reinterpret_cast<u64*>(fp + 512) |= 7;
  copy_bytes(fp + 576, c.in.fp.ymm_high.data(), 256);
}

void wait_for_turn(std::atomic<u32>& turn) {
  while (turn.load(std::memory_order_acquire) != 1)
    raw_syscall(SYS_futex, reinterpret_cast<long>(&turn), FUTEX_WAIT, 0);
}

}  // namespace

// Friend by name only: the handler needs Shared's layout, which is private to the class.
struct ChildAccess {
  static void handle(ucontext_t* context) {
    auto* shared = static_cast<NativeRunner::Shared*>(kChild->shared);
    if (kChild->running) {
      read_outcome(context, shared->outcomes[kChild->next]);
      ++kChild->next;
    }
    if (!kChild->running || kChild->next == shared->count) {
      if (kChild->running) {
        shared->turn.store(0, std::memory_order_release);
        raw_syscall(SYS_futex, reinterpret_cast<long>(&shared->turn), FUTEX_WAKE, 1);
      }
      wait_for_turn(shared->turn);
      kChild->next = 0;
      kChild->running = true;
    }
    start_case(context, shared->cases[kChild->next]);
  }
  static void on_signal(int, siginfo_t*, void* context) { handle(static_cast<ucontext_t*>(context)); }

  [[noreturn]] static void child_main(NativeRunner::Shared* shared);
};

namespace {

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
  if (::prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0) return false;
  // No thread-local data from here on: a base of FS that is not 0 would come back at each context switch
  // where the host has no FSGSBASE.
  return raw_syscall(SYS_arch_prctl, ARCH_SET_FS, 0, 0) == 0 &&
         raw_syscall(SYS_prctl, PR_SET_SECCOMP, SECCOMP_MODE_FILTER, reinterpret_cast<long>(&program)) == 0;
}

void* map_fixed(u64 address, u64 size, int protection, int flags, int fd = -1) {
  return ::mmap(reinterpret_cast<void*>(address), size, protection, flags | MAP_FIXED_NOREPLACE, fd, 0);
}

bool map_case_space() {
  const int code = ::memfd_create("code", 0);
  if (code < 0 || ::ftruncate(code, kPageSize) != 0) return false;
  const int rw = PROT_READ | PROT_WRITE;
  const int anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
  if (map_fixed(kCode, kPageSize, PROT_READ | PROT_EXEC, MAP_SHARED, code) == MAP_FAILED) return false;
  if (map_fixed(kCodeAlias, kPageSize, rw, MAP_SHARED, code) == MAP_FAILED) return false;
  if (map_fixed(kReadWrite, kDataPages * kPageSize, rw, anonymous) == MAP_FAILED) return false;
  fill_data(0, reinterpret_cast<u8*>(kReadOnly), kPageSize);
  if (::mprotect(reinterpret_cast<void*>(kReadOnly), kPageSize, PROT_READ) != 0) return false;
  return map_fixed(reinterpret_cast<u64>(kChild), kPageSize, rw, anonymous) != MAP_FAILED;
}

}  // namespace

void ChildAccess::child_main(NativeRunner::Shared* shared) {
  ::prctl(PR_SET_PDEATHSIG, SIGKILL);
  constexpr std::size_t kStack = 1 << 20;
  stack_t stack{};
  stack.ss_size = kStack;
  stack.ss_sp = ::mmap(nullptr, kStack, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (!map_case_space() || stack.ss_sp == MAP_FAILED || ::sigaltstack(&stack, nullptr) != 0) ::_exit(101);
  kChild->shared = shared;
  kChild->next = 0;
  kChild->running = false;
  struct sigaction action {};
  action.sa_sigaction = &on_signal;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK | SA_NODEFER;
  for (const int number : {SIGTRAP, SIGSEGV, SIGBUS, SIGILL, SIGFPE}) ::sigaction(number, &action, nullptr);
  if (!enter_jail()) ::_exit(102);
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

Result<std::unique_ptr<NativeRunner>> NativeRunner::create() {
  auto runner = std::unique_ptr<NativeRunner>(new NativeRunner);
  VELLUM_TRY_ASSIGN(mapping,
                    Mapping::create(sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS));
  runner->mapping_ = std::move(mapping);
  runner->shared_ = new (runner->mapping_.data()) Shared;
  runner->shared_->turn.store(0);
  runner->child_ = ::fork();
  if (runner->child_ < 0) return fail_errno("cannot start the native child", errno);
  if (runner->child_ == 0) ChildAccess::child_main(runner->shared_);
  return runner;
}

NativeRunner::~NativeRunner() {
  if (child_ <= 0) return;
  ::kill(child_, SIGKILL);
  ::waitpid(child_, nullptr, 0);
}

Result<HostLimits> NativeRunner::probe() {
  Case nop;
  nop.code[0] = 0x90;
  nop.length = 1;
  nop.in.rip = kCode;
  nop.in.gpr[x86::kRsp] = kReadWrite + 1024;
  nop.in.fp.fcw() = 0x37f;
  nop.in.fp.mxcsr() = 0x1f80;
  Case cases[3]{nop, nop, nop};
  cases[1].compat = true;
  cases[2].in.gpr[x86::kRsp] = u64{1} << 62;
  Outcome outcomes[3];
  VELLUM_TRY(run(cases, outcomes));
  if (outcomes[0].vector != kNoFault)
    return fail(ErrorCode::kHost, "not even a NOP runs in the native child: vector {}", outcomes[0].vector);
  return HostLimits{outcomes[1].vector != kNoFault, outcomes[2].vector != kNoFault};
}

double NativeRunner::seconds() const {
  clockid_t clock{};
  timespec time{};
  if (::clock_getcpuclockid(child_, &clock) != 0 || ::clock_gettime(clock, &time) != 0) return 0;
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

Result<> NativeRunner::run(std::span<const Case> cases, std::span<Outcome> outcomes) {
  std::copy(cases.begin(), cases.end(), shared_->cases);
  shared_->count = static_cast<u32>(cases.size());
  shared_->turn.store(1, std::memory_order_release);
  ::syscall(SYS_futex, &shared_->turn, FUTEX_WAKE, 1);
  while (shared_->turn.load(std::memory_order_acquire) != 0) {
    const timespec patience{0, 200'000'000};
    ::syscall(SYS_futex, &shared_->turn, FUTEX_WAIT, 1, &patience);
    int status = 0;
    if (::waitpid(child_, &status, WNOHANG) == child_) {
      child_ = -1;
      return fail(ErrorCode::kHost, "the native child ended (wait status {:#x})", status);
    }
  }
  std::copy_n(shared_->outcomes, cases.size(), outcomes.begin());
  return {};
}

}  // namespace vellum::differential
