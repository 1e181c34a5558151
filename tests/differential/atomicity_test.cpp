// Locked instructions are atomic, and fences fence, on each engine: the test is the other processor, at each
// instruction of the host's in turn, so a race needs no luck to be seen (host_steps.hpp).
#include <gtest/gtest.h>

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

/// Where this host has no such engine, the test is skipped; where it fails to come about, the test fails.
/// Null either way.
void make_engine(const char* name, std::unique_ptr<EngineRunner>& engine) {
  auto made = EngineRunner::create(name, 32);
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
    make_engine(std::get<0>(GetParam()), engine_);
    if (engine_ == nullptr) return;
    const Locked& instruction = std::get<1>(GetParam());
    case_ = user_code(instruction.code);
    // CMPXCHG expects what is there. (CMPXCHG8B looks at EDX:EAX.)
    case_.in.gpr[x86::kRax] = kBefore[0];
    case_.in.gpr[x86::kRdx] = instruction.rdx;
    case_.in.gpr[x86::kRbx] = 0x0f0f'0102'0304'0506;
    case_.in.gpr[x86::kRcx] = 0x7008'090a'0b0c'0d0e;
    operand_ = std::make_unique<Operand>(*engine_, instruction.size);
    run_plainly(true);  // once, for what only a first run does
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
  /// With the change before the host's instruction number `step`. `stored_`: by which the operand had
  /// changed.
  Outcome run_changing_at(u64 step) {
    return run([&](const std::function<void()>& go) {
      operand_->reset();
      stored_ = 0;
      run_in_host_steps(go, [&](u64 now, const u8*) {
        if (stored_ == 0 && operand_->is_changed()) stored_ = now;
        if (now == step) operand_->change();
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
  u64 stored_ = 0;
};

TEST_P(Atomicity, AChangeComesBeforeOrAfter) {
  constexpr u64 kFurthest = 64;  // more than lies between the load and the store, in the host's instructions
  const Outcome before = run_plainly(true), after = run_plainly(false);
  ASSERT_EQ(before.vector, kNoFault);
  ASSERT_FALSE(same(before, after));
  run_changing_at(~u64{0});
  const u64 stored = stored_;
  ASSERT_GT(stored, 10u) << "the engine was not stepped through";
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
bool host_fences(EngineRunner& engine, const Fenced& f) {
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
  engine.run(c, code, f.between.empty() ? 2 : 3, outcome);  // decoded, translated
  engine.set_around(around);
  engine.run(c, code, f.between.empty() ? 2 : 3, outcome);
  const u64 load_step = outcome.out.gpr[x86::kRax];
  EXPECT_NE(store_step, 0u);
  EXPECT_GT(load_step, store_step);
  return std::any_of(fences.begin(), fences.end(),
                     [&](u64 at) { return at >= store_step + (f.locked_store ? 0 : 1) && at < load_step; });
}

class Fences : public testing::TestWithParam<std::tuple<const char*, Fenced>> {};

TEST_P(Fences, TheHostFencesWhereTheGuestDoes) {
  std::unique_ptr<EngineRunner> engine;
  make_engine(std::get<0>(GetParam()), engine);
  if (engine == nullptr) return;

  EXPECT_TRUE(host_fences(*engine, std::get<1>(GetParam())));
}

class NoFence : public testing::TestWithParam<const char*> {};

// Else the test above sees one that is not the guest's.
TEST_P(NoFence, BetweenAStoreAndALoad) {
  std::unique_ptr<EngineRunner> engine;
  make_engine(GetParam(), engine);
  if (engine == nullptr) return;

  EXPECT_FALSE(host_fences(*engine, {"Nothing", {}, false}));
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
