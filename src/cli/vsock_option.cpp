#include "cli/vsock_option.hpp"

#include "base/key_values.hpp"
#include "cli/size.hpp"
#include "io/vsock/unix_vsock_host.hpp"

namespace vellum::cli {
namespace {

// 0, 1 and 2 are the hypervisor, the machine itself and the host; all ones is anybody.
constexpr u64 kFirstCid = 3, kLastCid = 0xffff'fffe;

}  // namespace

Result<VsockConfig> parse_vsock(std::string_view text) {
  VsockConfig vsock;
  std::string_view rest = text;
  vsock.path = take_until(rest, ',');
  if (vsock.path.empty() || vsock.path.size() > UnixVsockHost::kMaxPath)
    return fail(ErrorCode::kInvalidArgument, "'{}': it begins with a socket's path, of 1 to {} bytes", text,
                UnixVsockHost::kMaxPath);
  VELLUM_TRY(for_each_pair(rest, "cid=3", [&](std::string_view key, std::string_view value) -> Result<> {
    if (key != "cid")
      return fail(ErrorCode::kInvalidArgument, "'{}': unknown; after the path there may be cid=N", key);
    VELLUM_TRY_ASSIGN(cid, parse_count(value, kFirstCid, kLastCid));
    vsock.cid = static_cast<u32>(cid);
    return {};
  }));
  return vsock;
}

}  // namespace vellum::cli
