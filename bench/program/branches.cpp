// Calls, returns and indirect jumps: what a translator has to look up at run time.
#include <memory>
#include <vector>

#include "benchmark.hpp"

namespace bench {
namespace {

constexpr u32 kFib = 25;
constexpr u64 kFibCalls = 242'785;

[[gnu::noinline, gnu::noclone]] u64 fib_of(u32 n) {
  // The barrier keeps the compiler from turning one of the calls into a loop.
  if (n < 2) return n;
  const u64 a = fib_of(n - 1);
  asm volatile("");
  const u64 b = fib_of(n - 2);
  asm volatile("");
  return a + b;
}

u64 fib() {
  u32 n = kFib;
  opaque(n);
  return fib_of(n);
}

struct Shape {
  virtual ~Shape() = default;
  virtual u64 turn(u64 value) const = 0;
};
template <u32 kind>
struct Kind final : Shape {
  u64 turn(u64 value) const override { return (value << (kind + 1) | value >> (63 - kind)) + kind; }
};

constexpr u32 kShapes = 512, kPasses = 400;

std::vector<std::unique_ptr<Shape>> make_shapes() {
  std::vector<std::unique_ptr<Shape>> shapes;
  Random random(19);
  for (u32 n = 0; n < kShapes; ++n) {
    switch (random.below(8)) {
      case 0:
        shapes.push_back(std::make_unique<Kind<0>>());
        break;
      case 1:
        shapes.push_back(std::make_unique<Kind<1>>());
        break;
      case 2:
        shapes.push_back(std::make_unique<Kind<2>>());
        break;
      case 3:
        shapes.push_back(std::make_unique<Kind<3>>());
        break;
      case 4:
        shapes.push_back(std::make_unique<Kind<4>>());
        break;
      case 5:
        shapes.push_back(std::make_unique<Kind<5>>());
        break;
      case 6:
        shapes.push_back(std::make_unique<Kind<6>>());
        break;
      default:
        shapes.push_back(std::make_unique<Kind<7>>());
        break;
    }
  }
  return shapes;
}

u64 virtual_calls() {
  static const auto shapes = make_shapes();
  u64 value = 1;
  for (u32 pass = 0; pass < kPasses; ++pass)
    for (const auto& shape : shapes) value = shape->turn(value);
  return value;
}

// A stack machine, dispatched by a switch: counts the steps of the Collatz sequences from 1 to kStarts.
enum Op : u8 { kPush, kLoad, kStore, kAdd, kMultiply, kHalve, kOdd, kLess, kJump, kJumpIfZero, kHalt };
struct Code {
  Op op;
  int operand = 0;
};
constexpr int kStarts = 1200;
enum Variable { kN, kStart, kSteps };
constexpr Code kCollatz[] = {
    {kPush, 1},        {kStore, kStart},  // start = 1
    {kLoad, kStart},   {kStore, kN},      // 2: n = start
    {kPush, 1},        {kLoad, kN},      {kLess},
    {kJumpIfZero, 23},  // 4: while 1 < n
    {kLoad, kSteps},   {kPush, 1},       {kAdd},
    {kStore, kSteps},                                        //   ++steps
    {kLoad, kN},       {kOdd},           {kJumpIfZero, 19},  //   if n is even: 19
    {kLoad, kN},       {kPush, 3},       {kMultiply},
    {kJump, 28},  //   n * 3
    {kLoad, kN},       {kHalve},         {kStore, kN},
    {kJump, 4},  // 19: n = n / 2
    {kLoad, kStart},   {kPush, 1},       {kAdd},
    {kStore, kStart},  // 23: ++start
    {kJump, 32},       //
    {kPush, 1},        {kAdd},           {kStore, kN},
    {kJump, 4},  // 28: n = .. + 1
    {kLoad, kStart},   {kPush, kStarts}, {kLess},
    {kJumpIfZero, 37},  // 32: while start < kStarts
    {kJump, 2},         //
    {kHalt},            // 37
};
constexpr u64 kBytecodes = 1'225'718;

u64 run_bytecode(const Code* code, u64& count) {
  long stack[16], variables[4] = {};
  long* top = stack;
  for (const Code* pc = code;; ++count) {
    const Code at = *pc++;
    switch (at.op) {
      case kPush:
        *top++ = at.operand;
        break;
      case kLoad:
        *top++ = variables[at.operand];
        break;
      case kStore:
        variables[at.operand] = *--top;
        break;
      case kAdd:
        --top;
        top[-1] += top[0];
        break;
      case kMultiply:
        --top;
        top[-1] *= top[0];
        break;
      case kHalve:
        top[-1] /= 2;
        break;
      case kOdd:
        top[-1] &= 1;
        break;
      case kLess:
        --top;
        top[-1] = top[-1] < top[0];
        break;
      case kJump:
        pc = code + at.operand;
        break;
      case kJumpIfZero:
        if (*--top == 0) pc = code + at.operand;
        break;
      case kHalt:
        return static_cast<u64>(variables[kSteps]);
    }
  }
}

u64 bytecode() {
  const Code* code = kCollatz;
  opaque(code);
  u64 count = 0;
  const u64 steps = run_bytecode(code, count);
  if (count != kBytecodes) fail("bytecode: not the expected number of steps");
  return steps;
}

constexpr const char* kGroup = "branches";
constexpr Benchmark kAll[] = {
    {"fib", kGroup, "recursive calls and returns", "call", kFibCalls, fib},
    {"virtual", kGroup, "virtual calls, eight targets in random order", "call", u64{kShapes} * kPasses,
     virtual_calls},
    {"bytecode", kGroup, "a stack machine's dispatch loop", "bytecode", kBytecodes, bytecode},
};

}  // namespace

std::span<const Benchmark> branch_benchmarks() {
  return kAll;
}

}  // namespace bench
