#include "cpu/kvm/self_test.hpp"

#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <vector>

#include "cpu/kvm/cpuid.hpp"
#include "cpu/kvm/kick.hpp"
#include "cpu/kvm/self_test_code.hpp"
#include "x86/registers.hpp"

namespace vellum::kvm {
namespace {

using namespace self_test;

constexpr std::size_t kMemory = 64 << 10;
constexpr u64 kPresentWritable = 3;

tl::unexpected<Error> give_up(std::string why) {
  return tl::unexpected(Error{ErrorCode::kUnsupported, std::move(why)});
}

Result<> check(const char* what, int result) {
  if (result >= 0) return {};
  return give_up(fmt::format("{} fails: {}", what, std::strerror(-result)));
}

kvm_segment flat(u16 selector, u8 type, bool long_mode) {
  kvm_segment s{};
  s.limit = 0xffffffff;
  s.selector = selector;
  s.type = type;
  s.present = s.s = s.g = 1;
  s.l = long_mode;
  s.db = !long_mode;
  return s;
}

/// The loop of kLongMode, here.
void native_loop() {
  u32 count = kLoops;
  asm volatile(".balign 4\n1: dec %0\n jnz 1b" : "+r"(count) : : "cc");
}

class Tester {
 public:
  Tester(KvmApi& api, const Patience& patience, const std::function<u64()>& clock)
      : api_(api), patience_(patience), clock_(clock) {}

  Result<> run() {
    VELLUM_TRY(open());
    VELLUM_TRY(real_mode());
    VELLUM_TRY(protected_mode());
    return long_mode();
  }

 private:
  Result<> open();
  Result<> real_mode();
  Result<> protected_mode();
  Result<> long_mode();
  Result<> speed();
  /// Runs to the next exit, which must be `reason`.
  Result<> expect(const char* test, u32 reason);
  /// Runs to a write of a port and returns what was written.
  Result<u32> port_value(const char* test);
  Result<> expect_value(const char* test, const char* what, u32 value);
  Result<> begin(u64 rip, const kvm_sregs& sregs);
  template <class Code>
  void place(u64 address, const Code& code) {
    std::memcpy(memory_.data() + address, code.data(), code.size());
  }
  void put64(u64 address, u64 value) { std::memcpy(memory_.data() + address, &value, sizeof value); }

  KvmApi& api_;
  const Patience patience_;
  const std::function<u64()>& clock_;
  u64 deadline_ = 0;
  Mapping memory_;
  Handle system_, vm_, vcpu_;
  RunPage run_;
  kvm_sregs reset_{};
};

Result<> Tester::open() {
  const int fd = api_.open();
  if (fd == -EACCES) return give_up("permission denied; add yourself to its group, usually 'kvm'");
  VELLUM_TRY(check("opening it", fd));
  system_ = Handle(api_, fd);
  if (system_.call(KVM_GET_API_VERSION, 0ul) != KVM_API_VERSION) return give_up("it is not KVM's interface");
  const int vm = system_.call(KVM_CREATE_VM, 0ul);
  VELLUM_TRY(check("KVM_CREATE_VM", vm));
  vm_ = Handle(api_, vm);
  if (vm_.call(KVM_CHECK_EXTENSION, static_cast<unsigned long>(KVM_CAP_IMMEDIATE_EXIT)) <= 0)
    return give_up("it is too old: it has no immediate_exit");
  u64 identity_map = 0xfeffc000;
  vm_.call(KVM_SET_IDENTITY_MAP_ADDR, &identity_map);  // Intel's need them; others may refuse
  vm_.call(KVM_SET_TSS_ADDR, 0xfeffd000ul);

  VELLUM_TRY_ASSIGN_TO(memory_, Mapping::create(kMemory, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS));
  kvm_userspace_memory_region region{};
  region.memory_size = kMemory;
  region.userspace_addr = reinterpret_cast<u64>(memory_.data());  // SAFETY: memory_ outlives the VM
  VELLUM_TRY(check("KVM_SET_USER_MEMORY_REGION", vm_.call(KVM_SET_USER_MEMORY_REGION, &region)));

  const int vcpu = vm_.call(KVM_CREATE_VCPU, 0ul);
  VELLUM_TRY(check("KVM_CREATE_VCPU", vcpu));
  vcpu_ = Handle(api_, vcpu);
  const int size = system_.call(KVM_GET_VCPU_MMAP_SIZE, 0ul);
  if (size < static_cast<int>(sizeof(kvm_run))) return give_up("its run page is too small");
  void* const page = api_.map_run(vcpu, static_cast<std::size_t>(size));
  if (page == nullptr) return give_up("its run page cannot be mapped");
  run_ = RunPage(api_, page, static_cast<std::size_t>(size));

  CpuidArgument cpuid(256);
  VELLUM_TRY(check("KVM_GET_SUPPORTED_CPUID", system_.call(kGetSupportedCpuid, cpuid.get())));
  CpuidArgument own(cpuid.entries());
  VELLUM_TRY(check("KVM_SET_CPUID2", vcpu_.call(kSetCpuid2, own.get())));
  return check("KVM_GET_SREGS", vcpu_.call(KVM_GET_SREGS, &reset_));
}

Result<> Tester::begin(u64 rip, const kvm_sregs& sregs) {
  VELLUM_TRY(check("KVM_SET_SREGS", vcpu_.call(KVM_SET_SREGS, &sregs)));
  kvm_regs regs{};
  regs.rip = rip;
  regs.rsp = kStack;
  regs.rflags = x86::rflags::kFixed1;
  VELLUM_TRY(check("KVM_SET_REGS", vcpu_.call(KVM_SET_REGS, &regs)));
  deadline_ = clock_() + u64{patience_.snippet_ms} * 1'000'000;
  return {};
}

Result<> Tester::expect(const char* test, u32 reason) {
  for (;;) {
    const u64 now = clock_();
    if (now >= deadline_)
      return give_up(fmt::format("its {} test did not end within {} ms", test, patience_.snippet_ms));
    int result;
    {
      const KickTimer timer(deadline_ - now);
      result = vcpu_.call(KVM_RUN, 0ul);
    }
    if (result == -EINTR || result == -EAGAIN) continue;
    VELLUM_TRY(check("KVM_RUN", result));
    if (run_->exit_reason == reason) return {};
    return give_up(
        fmt::format("its {} test ended with exit reason {}, not {}", test, run_->exit_reason, reason));
  }
}

Result<u32> Tester::port_value(const char* test) {
  VELLUM_TRY(expect(test, KVM_EXIT_IO));
  const auto& io = run_->io;
  if (io.direction != KVM_EXIT_IO_OUT || io.port != kPort || io.count != 1 || io.size > 4 ||
      io.data_offset > run_.size() - 4)
    return give_up(fmt::format("its {} test made another port access than its code", test));
  u32 value = 0;
  // SAFETY: within the page, checked above.
  std::memcpy(&value, reinterpret_cast<const u8*>(run_.get()) + io.data_offset, io.size);
  return value;
}

Result<> Tester::expect_value(const char* test, const char* what, u32 value) {
  VELLUM_TRY_ASSIGN(got, port_value(test));
  if (got == value) return {};
  return give_up(fmt::format("its {} test: {} came out as {:#x}, not {:#x}", test, what, got, value));
}

Result<> Tester::real_mode() {
  place(kCode, kRealMode);
  kvm_sregs sregs = reset_;
  sregs.cs.base = 0;
  sregs.cs.selector = 0;
  VELLUM_TRY(begin(kCode, sregs));
  VELLUM_TRY(expect_value("real-mode", "a sum", kRealModeAnswer));
  return expect("real-mode", KVM_EXIT_HLT);
}

Result<> Tester::protected_mode() {
  place(kCode, kProtectedMode);
  kvm_sregs sregs = reset_;
  sregs.cr0 |= x86::cr0::kPe;
  sregs.cs = flat(8, 0xb, false);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat(0x10, 3, false);
  VELLUM_TRY(begin(kCode, sregs));
  VELLUM_TRY(expect("protected-mode", KVM_EXIT_MMIO));
  auto& access = run_->mmio;
  u32 written = 0;
  std::memcpy(&written, access.data, sizeof written);
  if (access.is_write == 0 || access.phys_addr != kMmio || access.len != 4 || written != kWritten)
    return give_up("its protected-mode test made another memory access than its code");
  VELLUM_TRY(expect("protected-mode", KVM_EXIT_MMIO));
  if (access.is_write != 0 || access.phys_addr != kMmio + 4 || access.len != 4)
    return give_up("its protected-mode test made another memory access than its code");
  std::memcpy(access.data, &kMmioRead, sizeof kMmioRead);
  VELLUM_TRY(expect_value("protected-mode", "what a device said", ~kMmioRead));
  return expect("protected-mode", KVM_EXIT_HLT);
}

Result<> Tester::long_mode() {
  place(kCode, kLongMode);
  place(kHandler, kFaultHandler);
  for (u64 level = 0; level < 3; ++level)
    put64(kTables + level * 0x1000, (kTables + (level + 1) * 0x1000) | kPresentWritable);
  for (u64 page = 0; page < kMemory >> 12; ++page)
    put64(kTables + 0x3000 + page * 8,
          page << 12 | (page << 12 == kUnmapped ? kPresentWritable & ~1ull : kPresentWritable));
  put64(kUnmapped, kWritten);
  put64(kGdt + 8, 0x00af9b000000ffff);     // 64-bit code
  put64(kGdt + 0x10, 0x00cf93000000ffff);  // data
  constexpr u64 kPageFault = 14;
  put64(kIdt + kPageFault * 16, (kHandler & 0xffff) | 8ull << 16 | 0x8e00ull << 32);
  put64(kIdt + kPageFault * 16 + 8, 0);

  kvm_sregs sregs = reset_;
  sregs.cr0 |= x86::cr0::kPe | x86::cr0::kPg | x86::cr0::kWp;
  sregs.cr0 &= ~(x86::cr0::kCd | x86::cr0::kNw);
  sregs.cr3 = kTables;
  sregs.cr4 |= x86::cr4::kPae;
  sregs.efer |= x86::efer::kLme | x86::efer::kLma;
  sregs.cs = flat(8, 0xb, true);
  sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat(0x10, 3, false);
  sregs.gdt.base = kGdt;
  sregs.gdt.limit = 0x17;
  sregs.idt.base = kIdt;
  sregs.idt.limit = 0xff;
  VELLUM_TRY(begin(kCode, sregs));
  VELLUM_TRY(expect_value("long-mode", "an MSR", kMsrValue));
  VELLUM_TRY(expect_value("long-mode", "a page fault's address", kUnmapped));
  VELLUM_TRY(expect_value("long-mode", "what a repaired page holds", kWritten));
  return speed();
}

// A host with other work makes one loop or another take longer: the shortest of a few counts.
Result<> Tester::speed() {
  u64 native_ns = ~u64{0}, guest_ns = ~u64{0};
  for (int i = 0; i < 2; ++i) {
    const u64 before = clock_();
    native_loop();
    native_ns = std::min(native_ns, clock_() - before);
  }
  constexpr u64 kAllowance = 1'000'000;  // for exits and entries around the loop
  constexpr int kTries = 5;
  for (int i = 0; i < kTries; ++i) {
    VELLUM_TRY(port_value("long-mode"));
    const u64 start = clock_();
    VELLUM_TRY(port_value("long-mode"));
    const u64 now = clock_();
    guest_ns = std::min(guest_ns, now - start);
    if (guest_ns <= kSlowest * native_ns + kAllowance) return {};
    if (now + guest_ns >= deadline_) break;
  }
  return give_up(
      fmt::format("it is slow: a loop of {} µs takes {} µs in the guest", native_ns / 1000, guest_ns / 1000));
}

}  // namespace

SelfTestResult self_test_here(KvmApi& api, const Patience& patience, const std::function<u64()>& clock) {
  const u64 start = clock();
  auto done = Tester(api, patience, clock).run();
  return {done.has_value(), done ? "" : std::move(done).error().message, clock() - start};
}

}  // namespace vellum::kvm
