// Signals that come from processor exceptions, with the fault address and the machine state that the handler
// gets: page faults, general protection, divide error, invalid opcode, breakpoint, single step, alignment
// check, x87 and SSE exceptions; alternate stacks; return from the handler with edited registers.
#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <xmmintrin.h>

#include <csetjmp>
#include <cstdlib>
#include <cstring>

#include "report.hpp"

#ifdef __x86_64__
#define VELLUM_BELOW_RED_ZONE "lea -128(%%rsp), %%rsp\n"
#define VELLUM_BACK "lea 128(%%rsp), %%rsp"
#define VELLUM_SP "%%rsp"
#define VELLUM_RBX "rbx"
#else
#define REG_RIP REG_EIP
#define REG_RBX REG_EBX
#define VELLUM_BELOW_RED_ZONE  // there is none
#define VELLUM_BACK
#define VELLUM_SP "%%esp"
#define VELLUM_RBX "ebx"
#endif

namespace workload {
namespace {

sigjmp_buf escape;
siginfo_t last_info;
std::uint64_t last_trap = 0;
std::uint64_t last_error = 0;
volatile int steps = 0;
bool on_alternate_stack = false;
unsigned char alternate_stack[64 * 1024];

void note(const siginfo_t* info, const ucontext_t* context) {
  last_info = *info;
  last_trap = static_cast<std::uint64_t>(context->uc_mcontext.gregs[REG_TRAPNO]);
  last_error = static_cast<std::uint64_t>(context->uc_mcontext.gregs[REG_ERR]);
  unsigned char here = 0;
  on_alternate_stack = &here >= alternate_stack && &here < alternate_stack + sizeof alternate_stack;
}

void jump_out(int, siginfo_t* info, void* context) {
  note(info, static_cast<ucontext_t*>(context));
  siglongjmp(escape, 1);
}

void count_step(int, siginfo_t* info, void* context) {
  auto* machine = static_cast<ucontext_t*>(context);
  note(info, machine);
  steps = steps + 1;
}

void skip(int, siginfo_t* info, void* context) {
  auto* machine = static_cast<ucontext_t*>(context);
  note(info, machine);
  machine->uc_mcontext.gregs[REG_RIP] += 2;  // over the UD2
  machine->uc_mcontext.gregs[REG_RBX] = 0x1234567;
}

/// The flag stays set in the handler, so it goes before anything else is done, here and in what is returned
/// to.
void end_alignment_check(int, siginfo_t* info, void* context) {
  asm volatile(VELLUM_BELOW_RED_ZONE "pushf\n andl $~0x40000, (" VELLUM_SP ")\n popf\n" VELLUM_BACK ::
                   : "memory", "cc");
  auto* machine = static_cast<ucontext_t*>(context);
  note(info, machine);
  machine->uc_mcontext.gregs[REG_EFL] &= ~0x40000ll;
  machine->uc_mcontext.gregs[REG_RIP] += 3;  // over the misaligned MOV
}

void handle(int number, void (*handler)(int, siginfo_t*, void*), int flags = SA_ONSTACK) {
  struct sigaction action = {};
  action.sa_sigaction = handler;
  action.sa_flags = SA_SIGINFO | flags;
  sigaction(number, &action, nullptr);
}

/// Runs `body`, which must raise signal `number`, and reports what the handler was told; addresses relative
/// to `base`.
template <class F>
void expect(const char* name, int number, std::uint64_t base, F body) {
  handle(number, jump_out);
  last_info = {};
  if (sigsetjmp(escape, 1) == 0) {
    body();
    report(name, std::string("no signal"));
    return;
  }
  char text[160];
  std::snprintf(
      text, sizeof text, "signal %d code %d address 0x%" PRIx64 " trap %" PRIu64 " error 0x%" PRIx64 "%s",
      last_info.si_signo, last_info.si_code, reinterpret_cast<std::uintptr_t>(last_info.si_addr) - base,
      last_trap, last_error, on_alternate_stack ? " alternate stack" : "");
  report(name, std::string(text));
}

void page_faults() {
  auto* page = static_cast<unsigned char*>(
      mmap(nullptr, 3 * 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  std::memset(page, 0x90, 4096);
  const auto base = reinterpret_cast<std::uintptr_t>(page);
  mprotect(page, 4096, PROT_READ);
  mprotect(page + 4096, 4096, PROT_NONE);
  volatile unsigned char* bytes = page;
  expect("signals.write_to_read_only", SIGSEGV, base, [&] { bytes[0x123] = 1; });
  expect("signals.read_of_none", SIGSEGV, base, [&] { (void)bytes[4096 + 0x456]; });
  expect("signals.crossing_read", SIGSEGV, base, [&] {
    asm volatile("mov %0, %%eax" ::"m"(page[4094]) : "eax");
  });
  expect("signals.execute_data", SIGSEGV, base, [&] { reinterpret_cast<void (*)()>(page)(); });
  munmap(page + 2 * 4096, 4096);
  expect("signals.unmapped", SIGSEGV, base, [&] { bytes[2 * 4096] = 1; });
  expect("signals.null", SIGSEGV, 0, [] { asm volatile("movl $1, 8" ::: "memory"); });
  expect("signals.kernel_address", SIGSEGV, 0, [] {
    asm volatile("movl (%0), %%eax" ::"r"(static_cast<std::uintptr_t>(-4096)) : "eax");
  });
  // A string instruction stops with its registers at the element that faulted.
  std::size_t rest = 0;
  expect("signals.string_midway", SIGSEGV, base, [&] {
    asm volatile("rep lodsb" : "=c"(rest) : "S"(page + 4090), "0"(std::size_t{100}) : "eax", "memory");
  });
  const int file = open("/proc/self/exe", O_RDONLY);
  auto* beyond = static_cast<unsigned char*>(mmap(nullptr, 64ull << 20, PROT_READ, MAP_SHARED, file, 0));
  expect("signals.bus_error", SIGBUS, reinterpret_cast<std::uintptr_t>(beyond),
         [&] { (void)*static_cast<volatile unsigned char*>(beyond + (63ull << 20)); });
}

void protection() {
#ifdef __x86_64__
  expect("signals.non_canonical", SIGSEGV, 0, [] {
    asm volatile("movl (%0), %%eax" ::"r"(0x8000'0000'0000'0000ull) : "eax");
  });
#endif
  expect("signals.privileged", SIGSEGV, 0, [] { asm volatile("hlt"); });
  expect("signals.port", SIGSEGV, 0, [] { asm volatile("outb %%al, $0x80" ::: "memory"); });
  expect("signals.int_gate", SIGSEGV, 0, [] { asm volatile("int $0x21"); });
  expect("signals.misaligned_sse", SIGSEGV, 0, [] {
    alignas(16) static unsigned char data[32];
    asm volatile("movaps (%0), %%xmm0" ::"r"(data + 1) : "xmm0");
  });
}

void arithmetic() {
  const auto ip_free = [](const char* name, auto body) {
    // The address is that of the instruction: only whether there is one is the same everywhere.
    handle(SIGFPE, jump_out);
    if (sigsetjmp(escape, 1) == 0) {
      body();
      report(name, std::string("no signal"));
      return;
    }
    report(name, std::to_string(last_info.si_code) + " trap " + std::to_string(last_trap));
  };
  ip_free("signals.divide", [] { asm volatile("xorl %%ecx, %%ecx\n divl %%ecx" ::: "eax", "ecx", "edx"); });
  ip_free("signals.divide_overflow", [] {
    asm volatile("cltd\n idivl %1" ::"a"(1u << 31), "r"(-1) : "edx");
  });
  ip_free("signals.x87_divide", [] {
    const unsigned short control = 0x037b;  // zero-divide unmasked
    asm volatile("fninit\n fldcw %0\n fld1\n fldz\n fdivrp\n fwait" ::"m"(control));
  });
  asm volatile("fninit");
  ip_free("signals.sse_divide", [] {
    _mm_setcsr(0x1d80);  // zero-divide unmasked
    asm volatile("divss %%xmm1, %%xmm0" ::"x"(0.f) : "xmm0", "xmm1");
    volatile float zero = 0.f;
    volatile float result = 1.f / zero;
    (void)result;
  });
  _mm_setcsr(0x1f80);
}

void debug() {
  handle(SIGTRAP, count_step);
  asm volatile("int3");
  report("signals.breakpoint",
         "code " + std::to_string(last_info.si_code) + " trap " + std::to_string(last_trap));
  // TF: one trap after each of the instructions up to the one that clears it; the red zone stays clear of the
  // pushes.
  steps = 0;
  asm volatile(VELLUM_BELOW_RED_ZONE "pushf\n orl $0x100, (" VELLUM_SP
                                     ")\n popf\n nop\n nop\n mov $3, %%ecx\n"
                                     "1: dec %%ecx\n jnz 1b\n pushf\n andl $~0x100, (" VELLUM_SP
                                     ")\n popf\n" VELLUM_BACK ::
                                         : "ecx", "cc", "memory");
  report("signals.single_steps", static_cast<std::uint64_t>(steps));
  handle(SIGILL, skip);
  std::size_t edited = 0;
  asm volatile("xor %%ebx, %%ebx\n ud2\n mov %%" VELLUM_RBX ", %0" : "=r"(edited)::"ebx");
  report("signals.edited_registers", edited);
  handle(SIGBUS, end_alignment_check);
  static unsigned char data[16];
  asm volatile(VELLUM_BELOW_RED_ZONE "pushf\n orl $0x40000, (" VELLUM_SP
                                     ")\n popf\n movl 1(%0), %%eax\n" VELLUM_BACK ::"D"(
                                         (reinterpret_cast<std::uintptr_t>(data) + 7) & ~std::uintptr_t{7})
               : "eax", "memory", "cc");
  report("signals.alignment_check",
         "code " + std::to_string(last_info.si_code) + " trap " + std::to_string(last_trap));
}

}  // namespace

int signals() {
  stack_t stack = {};
  stack.ss_sp = alternate_stack;
  stack.ss_size = sizeof alternate_stack;
  sigaltstack(&stack, nullptr);
  page_faults();
  protection();
  arithmetic();
  debug();
  return 0;
}

}  // namespace workload
