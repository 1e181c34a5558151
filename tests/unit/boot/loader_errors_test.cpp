// Everything that can be wrong with what a user gives load(): each is one line that names the file and says
// what to do.
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>

#include "../temp_dir.hpp"
#include "boot/loader.hpp"
#include "images.hpp"

namespace vellum {
namespace {

using test::Bytes;

class LoaderErrors : public testing::Test {
 protected:
  Error fails(u64 memory_mib = 64) {
    const auto ram = test::make_ram(memory_mib);
    const auto plan = load(request, *ram);
    EXPECT_FALSE(plan);
    const Error error = plan ? Error{} : plan.error();
    EXPECT_EQ(error.message.find('\n'), std::string::npos);
    return error;
  }
  void expect_error(const Error& error, ErrorCode code, std::initializer_list<std::string> parts) {
    EXPECT_EQ(error.code, code) << error.message;
    for (const std::string& part : parts)
      EXPECT_NE(error.message.find(part), std::string::npos) << error.message;
  }
  void kernel(const Bytes& contents) { request.kernel = files.write("vmlinuz", contents); }
  void initrd(const Bytes& contents) { request.initrds = {files.write("initrd.img", contents)}; }

  test::TempDir files;
  BootRequest request{.kernel = files.write("vmlinuz", test::make_bzimage())};
};

TEST_F(LoaderErrors, MissingKernel) {
  request.kernel = files.path("absent");
  expect_error(fails(), ErrorCode::kNotFound, {"kernel", request.kernel, "No such file"});
}

TEST_F(LoaderErrors, EmptyKernel) {
  kernel({});
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "is empty"});
}

TEST_F(LoaderErrors, DirectoryAsKernel) {
  request.kernel = std::filesystem::path(request.kernel).parent_path();
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "is a directory"});
}

// Root reads everything: the test lets go of its rights for the time being.
class Unprivileged {
 public:
  Unprivileged() : was_(::geteuid()) { change_to(was_ == 0 ? kNobody : was_); }
  ~Unprivileged() { change_to(was_); }

 private:
  static constexpr uid_t kNobody = 65534;
  static void change_to(uid_t user) { EXPECT_EQ(::seteuid(user), 0); }
  uid_t was_;
};

TEST_F(LoaderErrors, UnreadableKernel) {
  std::filesystem::permissions(request.kernel, std::filesystem::perms::none);
  const Unprivileged unprivileged;
  expect_error(fails(), ErrorCode::kHost, {"kernel", request.kernel, "Permission denied"});
}

TEST_F(LoaderErrors, TruncatedKernel) {
  Bytes file = test::make_bzimage();
  file.resize(file.size() - 64);
  kernel(file);
  expect_error(fails(), ErrorCode::kBadInput, {"kernel '" + request.kernel + "' is truncated"});
}

TEST_F(LoaderErrors, UnrecognisedKernel) {
  kernel(test::sample(4096));
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "not a kernel", "bzImage"});
}

TEST_F(LoaderErrors, KernelOfAnotherArchitecture) {
  kernel(test::make_elf({.machine = 183}));
  expect_error(fails(), ErrorCode::kUnsupported, {request.kernel, "AArch64", "x86"});
}

TEST_F(LoaderErrors, MissingInitrd) {
  request.initrds = {files.path("absent")};
  expect_error(fails(), ErrorCode::kNotFound, {"initrd", request.initrds[0], "No such file"});
}

TEST_F(LoaderErrors, EmptyInitrd) {
  initrd({});
  expect_error(fails(), ErrorCode::kBadInput, {"initrd", request.initrds[0], "is empty"});
}

TEST_F(LoaderErrors, MemoryBelowWhatTheKernelNeeds) {
  // The kernel ends at 16 MiB + 2 MiB.
  expect_error(fails(17), ErrorCode::kBadInput,
               {request.kernel, "at least 18 MiB", "has 17 MiB", "--memory 18M"});
  const auto ram = test::make_ram(18);
  EXPECT_TRUE(load(request, *ram));
}

TEST_F(LoaderErrors, MemoryBelowWhatAnElfKernelNeeds) {
  kernel(test::make_elf());
  expect_error(fails(16), ErrorCode::kBadInput, {request.kernel, "at least 17 MiB", "has 16 MiB"});
}

TEST_F(LoaderErrors, MemoryBelowWhatAMultibootKernelNeeds) {
  kernel(test::make_flat({.bss_end = 0x800000}));
  expect_error(fails(4), ErrorCode::kBadInput, {request.kernel, "at least 8 MiB"});
}

TEST_F(LoaderErrors, KernelAbove3GiB) {
  kernel(test::make_elf({.physical = 0xc0000000, .virtual_offset = 0, .entry = 0xc0000010, .pvh = false}));
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "3 GiB"});
}

TEST_F(LoaderErrors, InitrdDoesNotFit) {
  initrd(test::sample(3 << 20));
  expect_error(fails(20), ErrorCode::kBadInput,
               {"initrd '" + request.initrds[0], "21 MiB", "has 20 MiB", "--memory 21M"});
  const auto ram = test::make_ram(21);
  EXPECT_TRUE(load(request, *ram));
}

TEST_F(LoaderErrors, InitrdDoesNotFitBelowTheKernelsLimit) {
  kernel(test::make_bzimage({.xloadflags = XLF_KERNEL_64, .initrd_addr_max = 0x11fffff}));
  initrd(test::sample(20 << 20));
  expect_error(fails(), ErrorCode::kBadInput, {request.initrds[0], "does not fit below 0x1200000"});
}

TEST_F(LoaderErrors, ModuleDoesNotFit) {
  kernel(test::make_flat());
  initrd(test::sample(4 << 20));
  expect_error(fails(4), ErrorCode::kBadInput, {request.initrds[0], "6 MiB"});
}

TEST_F(LoaderErrors, CommandLineTooLong) {
  kernel(test::make_bzimage({.cmdline_size = 100}));
  request.command_line = std::string(101, 'x');
  expect_error(fails(), ErrorCode::kInvalidArgument, {"101 characters", "takes 100", "--append"});
  request.command_line.pop_back();
  const auto ram = test::make_ram(64);
  EXPECT_TRUE(load(request, *ram));
}

TEST_F(LoaderErrors, CommandLineWithNul) {
  request.command_line = std::string("a\0b", 3);
  expect_error(fails(), ErrorCode::kInvalidArgument, {"NUL"});
}

TEST_F(LoaderErrors, ProtocolTheKernelLacks) {
  request.protocol = Protocol::kMultiboot;
  expect_error(fails(), ErrorCode::kInvalidArgument,
               {request.kernel, "no multiboot header", "--protocol auto"});
  kernel(test::make_bzimage({.xloadflags = 0}));
  request.protocol = Protocol::kLinux64;
  expect_error(fails(), ErrorCode::kInvalidArgument, {request.kernel, "no 64-bit entry point"});
  kernel(test::make_elf({.pvh = false}));
  request.protocol = Protocol::kPvh;
  expect_error(fails(), ErrorCode::kInvalidArgument, {request.kernel, "no PVH entry"});
  request.protocol = Protocol::kLinux32;
  expect_error(fails(), ErrorCode::kInvalidArgument, {request.kernel, "no 32-bit entry point"});
  kernel(test::make_flat());
  request.protocol = Protocol::kPvh;
  expect_error(fails(), ErrorCode::kInvalidArgument, {request.kernel, "multiboot"});
}

TEST_F(LoaderErrors, DamagedPayload) {
  Bytes payload = test::gzip(test::make_elf());
  payload[payload.size() / 2] ^= 0xff;
  kernel(test::make_bzimage({.payload = payload}));
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "gzip-compressed payload", "damaged"});
}

TEST_F(LoaderErrors, PayloadOfAnotherSizeThanAnnounced) {
  Bytes payload = test::gzip(test::make_elf());
  test::put<u32>(payload, payload.size(), 0x100000);  // as the appended size of other formats
  kernel(test::make_bzimage({.payload = payload}));
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "unpacks to", "instead of 1048576"});
}

TEST_F(LoaderErrors, PayloadThatClaimsMoreThanTheMachineHas) {
  Bytes payload = test::gzip(test::make_elf());
  test::put<u32>(payload, payload.size(), 0xfffffff0);
  kernel(test::make_bzimage({.payload = payload}));
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "4294967280 bytes"});
}

TEST_F(LoaderErrors, PayloadForAnotherArchitecture) {
  kernel(test::make_bzimage({.payload = test::gzip(test::make_elf({.machine = 183}))}));
  expect_error(fails(), ErrorCode::kUnsupported, {request.kernel, "payload", "AArch64"});
}

TEST_F(LoaderErrors, ProgramForAnOperatingSystem) {
  Bytes elf = test::make_elf({});
  test::put<u32>(elf, 64, 3);  // the first program header's type: PT_INTERP
  kernel(elf);
  expect_error(fails(), ErrorCode::kUnsupported, {request.kernel, "program for an operating system"});
}

TEST_F(LoaderErrors, ElfWithoutAByteOrder) {
  Bytes elf = test::make_elf({});
  elf[5] = 0;  // EI_DATA
  kernel(elf);
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "byte order"});
}

TEST_F(LoaderErrors, PvhEntryOutsideTheKernel) {
  kernel(test::make_elf({.pvh_entry = 0x10}));
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "PVH entry point 0x10"});
}

TEST_F(LoaderErrors, KernelWhereFirmwareIs) {
  kernel(test::make_flat({.load = 0xe0000, .load_end = 0xe1000, .bss_end = 0, .entry = 0xe0040}));
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "0xe0000", "no free RAM"});
}

TEST_F(LoaderErrors, SegmentsThatOverlap) {
  kernel(test::make_elf({.code = test::sample(test::kElfDataOffset + 1)}));
  expect_error(fails(), ErrorCode::kBadInput, {request.kernel, "overlaps"});
}

TEST_F(LoaderErrors, UnknownMultibootDemand) {
  kernel(test::make_flat({.flags = 1u << 16 | 1u << 5}));
  expect_error(fails(), ErrorCode::kUnsupported, {request.kernel, "multiboot features"});
}

TEST_F(LoaderErrors, HardlyAnyMemory) {
  const auto ram = GuestRam::create(64 << 10);
  const auto plan = load(request, **ram);
  ASSERT_FALSE(plan);
  EXPECT_NE(plan.error().message.find("64 KiB"), std::string::npos) << plan.error().message;
}

}  // namespace
}  // namespace vellum
