// Locked instructions are atomic, and fences fence, on each engine: the test is the other processor, at each
// instruction of the host's in turn, so a race needs no luck to be seen (host_steps.hpp).
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <ostream>

#include "engine_runner.hpp"
#include "host_steps.hpp"

namespace vellum::differential {
namespace {

constexpr u64 kOperand = kReadWrite + 256;
constexpr u64 kBefore[2] = {0x1122'3344'5566'7788, 0x99aa'bbcc'ddee'ff01};

Case user_code(std::span<const u8> code) {
  Case c;
  std::copy(code.begin(), code.end(), c.code.begin());
  c.length = static_cast<u8>(code.size());
  c.in.rip = kCode + 64;
  c.in.gpr[x86::kRsp] = kReadWrite + 2048;
  c.in.gpr[x86::kRdi] = kOperand;
  c.in.fp.fcw() = 0x37f;
  c.in.fp.mxcsr() = 0x1f80;
  c.data_seed = 1;
  return c;
}

bool translates(const char* engine) {
  return std::string_view(engine) != "interp";
}

/// Where this host has no such engine, the test is skipped; where it fails to come about, the test fails.
/// Null either way. `unit`: the number of instructions that will be run. A longer unit would be more than the
/// budget, and a translator would leave it to the interpreter.
void make_engine(const char* name, unsigned unit, std::unique_ptr<EngineRunner>& engine) {
  auto made = EngineRunner::create(name, unit);
  if (!made && made.error().code == ErrorCode::kUnsupported) GTEST_SKIP() << made.error().message;
  ASSERT_TRUE(made) << made.error().message;
  engine = std::move(*made);
}

// ---- One locked instruction against one change of its operand ----

struct Locked {
  const char* name;
  std::vector<u8> code;
  unsigned size;
  u64 rdx = kBefore[1];
  friend std::ostream& operator<<(std::ostream& out, const Locked& l) { return out << l.name; }
};

const Locked kLocked[] = {
    {"AddByte", {0xf0, 0x00, 0x1f}, 1},
    {"Sbb", {0xf0, 0x48, 0x19, 0x1f}, 8},
    {"Not", {0xf0, 0x48, 0xf7, 0x17}, 8},
    {"BtcImmediate", {0xf0, 0x48, 0x0f, 0xba, 0x3f, 0x05}, 8},
    {"Xadd", {0xf0, 0x48, 0x0f, 0xc1, 0x1f}, 8},
    {"XchgWithoutLock", {0x48, 0x87, 0x1f}, 8},
    {"Cmpxchg", {0xf0, 0x48, 0x0f, 0xb1, 0x1f}, 8},
    {"Cmpxchg8b", {0xf0, 0x0f, 0xc7, 0x0f}, 8, kBefore[0] >> 32},
    {"Cmpxchg16b", {0xf0, 0x48, 0x0f, 0xc7, 0x0f}, 16},
};

class Operand {
 public:
  Operand(EngineRunner& engine, unsigned size) : at_(engine.data() + (kOperand - kReadWrite)), size_(size) {}
  void reset() { std::memcpy(at_, kBefore, size_); }
  bool is_changed() const { return std::memcmp(at_, kBefore, size_) != 0; }
  /// What the other processor does: atomic, as no instruction of this one runs meanwhile. It commutes with no
  /// instruction that is tested.
  void change() {
    u64 words[2] = {0, 0};
    std::memcpy(words, at_, size_);
    for (u64& word : words) word = 3 * word + 0x0111'1111'1111'1111;
    std::memcpy(at_, words, size_);
  }

 private:
  u8* at_;
  unsigned size_;
};

bool same(const Outcome& a, const Outcome& b) {
  return a.vector == b.vector && a.out.gpr == b.out.gpr && a.out.rip == b.out.rip &&
         a.out.rflags == b.out.rflags && a.data == b.data;
}

class Atomicity : public testing::TestWithParam<std::tuple<const char*, Locked>> {
 protected:
  void SetUp() override {
    make_engine(std::get<0>(GetParam()), 1, engine_);
    if (engine_ == nullptr) return;
    const Locked& instruction = std::get<1>(GetParam());
    case_ = user_code(instruction.code);
    // CMPXCHG expects what is there. (CMPXCHG8B looks at EDX:EAX.)
    case_.in.gpr[x86::kRax] = kBefore[0];
    case_.in.gpr[x86::kRdx] = instruction.rdx;
    case_.in.gpr[x86::kRbx] = 0x0f0f'0102'0304'0506;
    case_.in.gpr[x86::kRcx] = 0x7008'090a'0b0c'0d0e;
    operand_ = std::make_unique<Operand>(*engine_, instruction.size);
    for (unsigned n = 0; n < 100; ++n) run_plainly(true);  // for what only first runs do
  }
  /// The instruction with the change before it, or after.
  Outcome run_plainly(bool before) {
    return run([&](const std::function<void()>& go) {
      operand_->reset();
      if (before) operand_->change();
      go();
      if (!before) operand_->change();
    });
  }
  /// Fills trail_ and stored_.
  void run_in_steps() {
    trail_.reserve(1 << 20);  // nothing may be allocated in the observer
    run([&](const std::function<void()>& go) {
      operand_->reset();
      trail_.clear();
      stored_ = 0;
      run_in_host_steps(go, [&](u64 now, const u8* rip) {
        if (stored_ == 0 && operand_->is_changed()) stored_ = now;
        if (trail_.size() < trail_.capacity()) trail_.push_back(rip);
      });
    });
  }
  /// With the change before the host's instruction number `step` of trail_. Runs are not of the same length
  /// (a translator's tables are sometimes found otherwise): the instruction is known by its address.
  Outcome run_changing_at(u64 step) {
    const u8* const at = trail_.at(step);
    const auto which = std::count(trail_.begin(), trail_.begin() + static_cast<std::ptrdiff_t>(step), at);
    return run([&](const std::function<void()>& go) {
      operand_->reset();
      std::ptrdiff_t met = 0;
      run_in_host_steps(go, [&](u64, const u8* rip) {
        if (rip == at && met++ == which) operand_->change();
      });
    });
  }
  Outcome run(const EngineRunner::Around& around) {
    Outcome outcome;
    engine_->set_around(around);
    engine_->run(case_, outcome);
    return outcome;
  }

  std::unique_ptr<EngineRunner> engine_;
  std::unique_ptr<Operand> operand_;
  Case case_;
  std::vector<const u8*> trail_;  ///< the host's instructions
  u64 stored_ = 0;                ///< the first behind the store
};

TEST_P(Atomicity, AChangeComesBeforeOrAfter) {
  constexpr u64 kFurthest = 64;  // more than lies between the load and the store, in the host's instructions
  const Outcome before = run_plainly(true), after = run_plainly(false);
  ASSERT_EQ(before.vector, kNoFault);
  ASSERT_FALSE(same(before, after));
  run_in_steps();
  const u64 stored = stored_;
  ASSERT_GT(stored, 10u) << "the engine was not stepped through";
  // One instruction of the host's looks atomic from here, with or without LOCK.
  EXPECT_TRUE(is_full_fence(trail_[stored - 1]));
  EXPECT_EQ(engine_->entries() != 0, translates(std::get<0>(GetParam())));
  ASSERT_TRUE(same(run_changing_at(stored), after));
  u64 seen = stored - std::min(stored, kFurthest), unseen = stored;
  ASSERT_TRUE(same(run_changing_at(seen), before));

  // Where it begins to go unnoticed.
  while (unseen - seen > 1) {
    const u64 middle = seen + (unseen - seen) / 2;
    (same(run_changing_at(middle), before) ? seen : unseen) = middle;
  }

  // Around there: one or the other, and never something between.
  for (u64 step = seen - std::min<u64>(seen, 1); step < unseen + 2; ++step) {
    const Outcome outcome = run_changing_at(step);
    EXPECT_TRUE(same(outcome, before) || same(outcome, after))
        << "at step " << step << ", stored by " << stored;
  }
}

std::string name_of(const testing::TestParamInfo<std::tuple<const char*, Locked>>& info) {
  std::string name = std::string(std::get<0>(info.param)) + std::get<1>(info.param).name;
  std::erase(name, '-');
  return name;
}
INSTANTIATE_TEST_SUITE_P(All, Atomicity,
                         testing::Combine(testing::Values("interp", "bt"), testing::ValuesIn(kLocked)),
                         name_of);
INSTANTIATE_TEST_SUITE_P(ThroughFlatTables, Atomicity,
                         testing::Combine(testing::Values("bt-flat"),
                                          testing::ValuesIn(std::end(kLocked) - 2, std::end(kLocked))),
                         name_of);

// ---- A store, a fence, a load ----

struct Fenced {
  const char* name;
  std::vector<u8> between;
  bool locked_store;
  friend std::ostream& operator<<(std::ostream& out, const Fenced& f) { return out << f.name; }
};

// Whether the host runs a fence between the guest's store to [rdi] and its load of [rsi]. The load's moment
// is known by what it gets: each step has its own number there.
bool host_fences(const char* name, const Fenced& f) {
  const unsigned instructions = f.between.empty() ? 2 : 3;
  std::unique_ptr<EngineRunner> made;
  make_engine(name, instructions, made);
  if (made == nullptr) return false;
  EngineRunner& engine = *made;
  std::vector<u8> code;
  const u8 mov[] = {0x48, 0x89, 0x1f};   // mov [rdi], rbx
  const u8 xchg[] = {0x48, 0x87, 0x1f};  // xchg [rdi], rbx
  const u8 load[] = {0x48, 0x8b, 0x06};  // mov rax, [rsi]
  code.insert(code.end(), f.locked_store ? std::begin(xchg) : std::begin(mov),
              f.locked_store ? std::end(xchg) : std::end(mov));
  code.insert(code.end(), f.between.begin(), f.between.end());
  code.insert(code.end(), std::begin(load), std::end(load));
  Case c = user_code({});
  c.in.gpr[x86::kRbx] = 0x5a5a'5a5a;
  c.in.gpr[x86::kRsi] = kOperand + 1024;
  volatile u64* const stored = reinterpret_cast<u64*>(engine.data() + (kOperand - kReadWrite));
  volatile u64* const loaded = reinterpret_cast<u64*>(engine.data() + (kOperand + 1024 - kReadWrite));
  u64 store_step = 0;
  std::vector<u64> fences;
  const auto observer = [&](u64 step, const u8* rip) {
    *loaded = step;
    if (store_step == 0 && *stored == 0x5a5a'5a5a) store_step = step - 1;
    if (is_full_fence(rip)) fences.push_back(step);
  };
  const auto around = [&](const std::function<void()>& go) { run_in_host_steps(go, observer); };
  Outcome outcome;
  fences.reserve(1 << 16);
  for (unsigned n = 0; n < 100; ++n) engine.run(c, code, instructions, outcome);  // decoded, translated
  const u64 entered = engine.entries();
  engine.set_around(around);
  engine.run(c, code, instructions, outcome);
  EXPECT_EQ(engine.entries() != entered, translates(name));
  const u64 load_step = outcome.out.gpr[x86::kRax];
  EXPECT_NE(store_step, 0u);
  EXPECT_GT(load_step, store_step);
  return std::any_of(fences.begin(), fences.end(),
                     [&](u64 at) { return at >= store_step + (f.locked_store ? 0 : 1) && at < load_step; });
}

class Fences : public testing::TestWithParam<std::tuple<const char*, Fenced>> {};

TEST_P(Fences, TheHostFencesWhereTheGuestDoes) {
  const bool fences = host_fences(std::get<0>(GetParam()), std::get<1>(GetParam()));
  if (IsSkipped()) return;

  EXPECT_TRUE(fences);
}

class NoFence : public testing::TestWithParam<const char*> {};

// Else the test above sees one that is not the guest's.
TEST_P(NoFence, BetweenAStoreAndALoad) {
  EXPECT_FALSE(host_fences(GetParam(), {"Nothing", {}, false}));
}
INSTANTIATE_TEST_SUITE_P(All, NoFence, testing::Values("interp", "bt", "bt-flat"));

std::string name_of_fence(const testing::TestParamInfo<std::tuple<const char*, Fenced>>& info) {
  std::string name = std::string(std::get<0>(info.param)) + std::get<1>(info.param).name;
  std::erase(name, '-');
  return name;
}
INSTANTIATE_TEST_SUITE_P(
    All, Fences,
    testing::Combine(testing::Values("interp", "bt", "bt-flat"),
                     testing::Values(Fenced{"Mfence", {0x0f, 0xae, 0xf0}, false},
                                     Fenced{"LockOr", {0xf0, 0x83, 0x4c, 0x24, 0xc0, 0x00}, false},
                                     Fenced{"XchgElsewhere", {0x87, 0x4c, 0x24, 0xc0}, false},
                                     Fenced{"XchgAsTheStore", {}, true},
                                     Fenced{"Cpuid", {0x0f, 0xa2}, false})),
    name_of_fence);

}  // namespace
}  // namespace vellum::differential
