#include "memory/echoes.hpp"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <set>

namespace vellum {
namespace {

constexpr u64 kBytes = 64 << 10;

bool mapped(u64 address) {
  unsigned char in_core = 0;
  return ::mincore(reinterpret_cast<void*>(address), 4096, &in_core) == 0 || errno != ENOMEM;
}

// The shadow memory of the two lies over echoes of everything else (docs/testing.md): there is no room to be
// found then, and every test with flat tables is skipped.
#if defined(__has_feature)
#define VELLUM_HAS_FEATURE(name) __has_feature(name)
#else
#define VELLUM_HAS_FEATURE(name) 0
#endif
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__) || \
    VELLUM_HAS_FEATURE(address_sanitizer) || VELLUM_HAS_FEATURE(thread_sanitizer)
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Else the tests that need them would all be skipped, and every operand looked up.
TEST(Echoes, AnOrdinaryProcessHasRoomForThem) {
  if (kSanitized) GTEST_SKIP() << "the sanitizer's shadow memory leaves no room for echoes";
  EXPECT_TRUE(reserve_with_echoes(kBytes));
  EXPECT_TRUE(reserve_with_echoes(u64{64} << 30));
}

TEST(Echoes, ThereAreSixteenOfEachAddressAndNobodyElseHasThem) {
  const auto all = reserve_with_echoes(kBytes);
  if (!all) GTEST_SKIP() << "this process has no address space whose echoes are free";
  ASSERT_EQ(all->size(), 16u);
  std::set<u64> seen;
  for (const Mapping& m : *all) {
    const auto address = reinterpret_cast<u64>(m.data());
    EXPECT_EQ(m.size(), kBytes);
    EXPECT_EQ((address ^ reinterpret_cast<u64>(all->front().data())) & ((u64{1} << kEchoShift) - 1), 0u);
    EXPECT_TRUE(seen.insert(address).second);
    EXPECT_TRUE(mapped(address));
    const int fd = ::memfd_create("echo", 0);
    EXPECT_EQ(::write(fd, m.data(), 1), -1) << "not to be read";
    ::close(fd);
  }
}

TEST(Echoes, OfAPlaceWithSomethingAmongThemTheyAreElsewhere) {
  const auto first = reserve_with_echoes(kBytes);
  if (!first) GTEST_SKIP() << "this process has no address space whose echoes are free";
  // The next would lie beside it, and its echoes beside these.
  const u64 beside = reinterpret_cast<u64>(first->front().data()) - kBytes;
  const u64 echo = (beside + (u64{3} << kEchoShift)) % (u64{1} << 47);
  void* const taken =
      ::mmap(reinterpret_cast<void*>(echo), kBytes, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  const Mapping in_the_way(taken, kBytes);
  ASSERT_EQ(reinterpret_cast<u64>(taken), echo);
  const auto second = reserve_with_echoes(kBytes);
  ASSERT_TRUE(second);
  EXPECT_EQ(second->size(), 16u);
  EXPECT_NE(reinterpret_cast<u64>(second->front().data()), beside);
}

}  // namespace
}  // namespace vellum
