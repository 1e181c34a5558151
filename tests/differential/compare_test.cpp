// Nothing that an outcome holds escapes the comparison, and a reproducer is the case that was written.
#include "compare.hpp"

#include <gtest/gtest.h>

#include <fmt/format.h>
#include <unistd.h>

#include <filesystem>
#include <functional>

#include "generator.hpp"
#include "reproducer.hpp"
#include "x86/exception.hpp"

namespace vellum::differential {
namespace {

Case of_bytes(std::initializer_list<u8> code) {
  Case c;
  std::copy(code.begin(), code.end(), c.code.begin());
  c.length = static_cast<u8>(code.size());
  c.in.rip = kCode;
  return c;
}
const Case kAdd = of_bytes({0x48, 0x01, 0xd8});       // add rax, rbx: no flag undefined
const Case kMultiply = of_bytes({0x48, 0xf7, 0xe3});  // mul rbx: SF, ZF, AF, PF undefined

bool noticed(const Case& c, const std::function<void(Outcome&)>& change) {
  Outcome native, engine;
  native.vector = engine.vector = x86::kPf;
  change(engine);
  return !compare(c, native, engine).empty() && !known_difference(c, native, engine);
}

TEST(Compare, SameIsSame) {
  EXPECT_FALSE(noticed(kAdd, [](Outcome&) {}));
}

TEST(Compare, EachRegister) {
  for (unsigned r = 0; r < 16; ++r) {
    EXPECT_TRUE(noticed(kAdd, [&](Outcome& o) { o.out.gpr[r] ^= bit(63); })) << r;
    EXPECT_TRUE(noticed(kAdd, [&](Outcome& o) { o.out.fp.xmm(r)[15] ^= 1; })) << r;
    EXPECT_TRUE(noticed(kAdd, [&](Outcome& o) { o.out.fp.ymm_hi(r)[15] ^= 1; })) << r;
  }
  for (unsigned r = 0; r < 8; ++r) EXPECT_TRUE(noticed(kAdd, [&](Outcome& o) { o.out.fp.st(r)[9] ^= 1; }));
  EXPECT_TRUE(noticed(kAdd, [](Outcome& o) { o.out.rip ^= 1; }));
}

TEST(Compare, EachFlag) {
  for (const u64 flag : {x86::rflags::kCf, x86::rflags::kPf, x86::rflags::kAf, x86::rflags::kZf,
                         x86::rflags::kSf, x86::rflags::kOf, x86::rflags::kDf, x86::rflags::kAc})
    EXPECT_TRUE(noticed(kAdd, [&](Outcome& o) { o.out.rflags ^= flag; })) << flag;
}

TEST(Compare, OnlyUndefinedFlagsMayDiffer) {
  const auto flips = [](u64 flag) { return [flag](Outcome& o) { o.out.rflags ^= flag; }; };
  EXPECT_FALSE(noticed(kMultiply, flips(x86::rflags::kZf)));
  EXPECT_FALSE(noticed(kMultiply, flips(x86::rflags::kAf)));
  EXPECT_TRUE(noticed(kMultiply, flips(x86::rflags::kCf)));
  EXPECT_TRUE(noticed(kMultiply, flips(x86::rflags::kOf)));
}

TEST(Compare, ControlAndStatus) {
  EXPECT_TRUE(noticed(kAdd, [](Outcome& o) { o.out.fp.mxcsr() ^= 1; }));
  EXPECT_TRUE(noticed(kAdd, [](Outcome& o) { o.out.fp.fcw() ^= 1; }));
  EXPECT_TRUE(noticed(kAdd, [](Outcome& o) { o.out.fp.fsw() ^= 1; }));
  EXPECT_TRUE(noticed(kAdd, [](Outcome& o) { o.out.fp.ftw() ^= 1; }));
}

TEST(Compare, TheFaultItsErrorCodeAndAddress) {
  EXPECT_TRUE(noticed(kAdd, [](Outcome& o) { o.vector = x86::kGp; }));
  EXPECT_TRUE(noticed(kAdd, [](Outcome& o) { o.vector = kNoFault; }));
  EXPECT_TRUE(noticed(kAdd, [](Outcome& o) { o.error_code ^= x86::pf::kWrite; }));
  EXPECT_TRUE(noticed(kAdd, [](Outcome& o) { o.cr2 ^= 1; }));
}

// Linux calls every page of its own half present, so neither side's word on that counts.
TEST(Compare, WhetherThePagesOfTheKernelsHalfArePresentIsNotSeen) {
  Outcome one, other;
  one.vector = other.vector = x86::kPf;
  one.cr2 = other.cr2 = ~u64{0};
  one.error_code = x86::pf::kUser;
  EXPECT_TRUE(compare(kAdd, one, one).empty());
  other.error_code = x86::pf::kUser | x86::pf::kPresent;
  EXPECT_TRUE(compare(kAdd, one, other).empty());
  EXPECT_TRUE(compare(kAdd, other, one).empty());
  one.cr2 = other.cr2 = kData;
  EXPECT_FALSE(compare(kAdd, one, other).empty());
}

TEST(Compare, EitherOperandOfCmpsMayFaultFirst) {
  const Case cmpsd = of_bytes({0xa7});
  const auto excused = [](const Case& c, const std::function<void(Outcome&, Outcome&)>& change) {
    Outcome native, engine;
    native.vector = engine.vector = x86::kPf;
    native.out.gpr[x86::kRsi] = engine.out.gpr[x86::kRsi] = 0x1000;
    native.out.gpr[x86::kRdi] = engine.out.gpr[x86::kRdi] = 0x2000;
    engine.cr2 = 0x1000;
    native.cr2 = 0x2003;
    change(native, engine);
    return known_difference(c, native, engine);
  };
  EXPECT_TRUE(excused(cmpsd, [](Outcome&, Outcome&) {}));
  EXPECT_TRUE(excused(cmpsd, [](Outcome& native, Outcome& engine) {
    native.vector = x86::kGp;
    native.out.gpr[x86::kRdi] = engine.out.gpr[x86::kRdi] = bit(60);
  }));
  Case of_null_segment = of_bytes({0x65, 0xa7});  // GS holds the null selector, in 32-bit code only
  const auto is_protection = [](Outcome&, Outcome& engine) { engine.vector = x86::kGp; };
  EXPECT_FALSE(excused(of_null_segment, is_protection));
  of_null_segment.compat = true;
  EXPECT_TRUE(excused(of_null_segment, is_protection));
  // Nothing but CMPS, only faults of its operands, and all else is the same.
  EXPECT_FALSE(excused(of_bytes({0xa5}), [](Outcome&, Outcome&) {}));
  EXPECT_FALSE(excused(cmpsd, [](Outcome& native, Outcome&) { native.cr2 = 0x2004; }));
  EXPECT_FALSE(excused(cmpsd, [](Outcome& native, Outcome&) { native.vector = x86::kGp; }));
  EXPECT_FALSE(excused(cmpsd, [](Outcome& native, Outcome&) { native.vector = kNoFault; }));
  EXPECT_FALSE(excused(cmpsd, [](Outcome&, Outcome& engine) { engine.cr2 = 0x2000; }));
  EXPECT_FALSE(excused(cmpsd, [](Outcome&, Outcome& engine) { engine.vector = kNoFault; }));
  EXPECT_FALSE(excused(cmpsd, [](Outcome&, Outcome& engine) { engine.out.rflags ^= x86::rflags::kZf; }));
  EXPECT_FALSE(excused(cmpsd, [](Outcome&, Outcome& engine) { engine.out.gpr[x86::kRcx] ^= 1; }));
}

TEST(Compare, MaskedMovesMayWrap) {
  Case narrow = of_bytes({0x67, 0xc4, 0xc2, 0xd9, 0x8c, 0x1c});  // vpmaskmovq xmm3, xmm4, [si]
  narrow.compat = true;
  const auto excused = [](const Case& c, u64 by_native, u8 vector, u64 by_engine) {
    Outcome native, engine;
    native.vector = x86::kPf;
    native.cr2 = by_native;
    engine.vector = vector;
    engine.cr2 = by_engine;
    return known_difference(c, native, engine);
  };
  EXPECT_TRUE(excused(narrow, 7, x86::kPf, 0x10007));
  EXPECT_FALSE(excused(narrow, 7, x86::kPf, 0x10008));
  EXPECT_FALSE(excused(narrow, 7, x86::kPf, kData));
  EXPECT_FALSE(excused(narrow, 7, kNoFault, 0));
  EXPECT_TRUE(excused(narrow, 7, x86::kSs, 0));
  EXPECT_FALSE(excused(narrow, 32, x86::kSs, 0));
  EXPECT_FALSE(excused(kAdd, 7, x86::kPf, 0x10007));
}

TEST(Compare, AMisalignedImageAtAnAbsentPageMayFaultByEither) {
  const auto excused = [](const Case& c, u64 cr2) {
    Outcome native, engine;
    native.vector = x86::kPf;
    native.cr2 = cr2;
    engine.vector = x86::kGp;
    return known_difference(c, native, engine);
  };
  const Case fxsave = of_bytes({0x0f, 0xae, 0x00});  // fxsave [rax]
  EXPECT_TRUE(excused(fxsave, 0x1cf));
  EXPECT_FALSE(excused(fxsave, 0x1c0));
  EXPECT_FALSE(excused(kAdd, 0x1cf));
}

TEST(Compare, EachByteOfMemory) {
  for (const std::size_t at : {std::size_t{0}, kWritableBytes / 2, kWritableBytes - 1})
    EXPECT_TRUE(noticed(kAdd, [&](Outcome& o) { o.data[at] ^= 1; })) << at;
}

TEST(Reproducer, IsTheCase) {
  const auto path = std::filesystem::temp_directory_path() / fmt::format("vellum-{}.case", ::getpid());
  Generator generator(1, {.compat_percent = 25, .only_canonical_rsp = false});
  for (unsigned n = 0; n < 200; ++n) {
    const Case c = generator.next();
    ASSERT_TRUE(write_reproducer(path, c));
    const auto again = read_reproducer(path);
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_TRUE(std::equal(c.code.begin(), c.code.begin() + c.length, again->code.begin()));
    EXPECT_EQ(again->length, c.length);
    EXPECT_EQ(again->compat, c.compat);
    EXPECT_EQ(again->repeated, c.repeated);
    EXPECT_EQ(again->data_seed, c.data_seed);
    EXPECT_EQ(again->in.gpr, c.in.gpr);
    EXPECT_EQ(again->in.rip, c.in.rip);
    EXPECT_EQ(again->in.rflags, c.in.rflags);
    EXPECT_TRUE(again->in.fp == c.in.fp);
  }
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace vellum::differential
