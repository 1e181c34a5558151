#include "x86/cpu_model.hpp"

#include <algorithm>
#include <array>

#include "x86/registers.hpp"

namespace vellum::x86 {
namespace {

/// The best named model that the host can carry: the same guest on most hosts, with a TSC rate that it is
/// told.
constexpr std::string_view kAutomatic = "auto";

enum class Level : u8 { kHost, kV2, kV3 };

struct ModelRow {
  std::string_view name;
  Level level;
  std::string_view brand;  ///< of a named model; `host` takes the host's
};

constexpr std::array<ModelRow, 3> kModels{{
    {"host", Level::kHost, ""},
    {"x86-64-v2", Level::kV2, "Vellum x86-64-v2 virtual CPU"},
    {"x86-64-v3", Level::kV3, "Vellum x86-64-v3 virtual CPU"},
}};

constexpr std::string_view kIntel = "GenuineIntel";
// Family 6, model 0xaf, stepping 3: a server part with AVX2, no AVX-512 and one thread a core, as our models
// are.
constexpr u32 kNamedSignature = 0x000a06f3;

FeatureSet platform_features() {
  FeatureSet set;
  for (const FeatureRow& row : feature_table()) {
    const bool possible =
        row.availability <= Availability::kHost || row.availability == Availability::kDynamic;
    set.set(feature_index(row.feature), possible && row.provision == Provision::kPlatform);
  }
  return set;
}

FeatureSet host_model_features(const HostCpu& host, bool amd) {
  FeatureSet set = platform_features();
  for (const FeatureRow& row : feature_table()) {
    const unsigned i = feature_index(row.feature);
    const bool offered =
        row.availability <= Availability::kHost || (amd && row.availability == Availability::kAmd);
    if (offered && (host.features.test(i) || row.provision == Provision::kPlatform)) set.set(i);
  }
  // AVX state without XSAVE, and what builds on AVX without AVX, would be no processor that software knows.
  if (!set.test(feature_index(Feature::kXsave))) set.reset(feature_index(Feature::kAvx));
  if (!set.test(feature_index(Feature::kAvx)))
    for (const Feature f : {Feature::kAvx2, Feature::kFma, Feature::kF16c, Feature::kVaes, Feature::kVpclmul})
      set.reset(feature_index(f));
  if (!set.test(feature_index(Feature::kXsave)))
    for (const Feature f : {Feature::kXsaveopt, Feature::kXsavec, Feature::kXgetbv1, Feature::kOsxsave})
      set.reset(feature_index(f));
  return set;
}

Result<FeatureSet> named_model_features(const ModelRow& model, const HostCpu& host) {
  FeatureSet set;
  const Availability highest = model.level == Level::kV2 ? Availability::kV2 : Availability::kV3IfHost;
  for (const FeatureRow& row : feature_table()) {
    const unsigned i = feature_index(row.feature);
    const bool dynamic = row.availability == Availability::kDynamic;
    if (row.availability > highest && !dynamic) continue;
    if (row.provision == Provision::kHostUnits && !host.features.test(i)) {
      if (row.availability == Availability::kV3IfHost) continue;
      const std::string_view advice =
          model.level == Level::kV3 ? "choose --cpu host or --cpu x86-64-v2" : "choose --cpu host";
      return fail(ErrorCode::kUnsupported,
                  "CPU model '{}' needs the feature '{}', which this host's processor ({}) lacks; {}",
                  model.name, row.name, host.brand.empty() ? host.vendor : host.brand, advice);
    }
    set.set(i);
  }
  if (!set.test(feature_index(Feature::kXsave))) set.reset(feature_index(Feature::kOsxsave));
  set.reset(feature_index(Feature::kCmpLegacy));  // AMD's way of saying HTT means cores
  return set;
}

}  // namespace

std::vector<std::string_view> CpuModel::names() {
  std::vector<std::string_view> names{kAutomatic};
  for (const ModelRow& model : kModels) names.push_back(model.name);
  return names;
}

Result<CpuModel> CpuModel::create(std::string_view name) {
  return create_on(name, HostCpu::detect());
}

Result<CpuModel> CpuModel::create_on(std::string_view name, const HostCpu& host) {
  if (name == kAutomatic) {
    for (const std::string_view candidate : {"x86-64-v3", "x86-64-v2"})
      if (auto model = create_on(candidate, host)) return model;
    return create_on("host", host);
  }
  const auto row =
      std::find_if(kModels.begin(), kModels.end(), [&](const ModelRow& m) { return m.name == name; });
  if (row == kModels.end())
    return fail(ErrorCode::kInvalidArgument, "unknown CPU model '{}'; the models are {}", name,
                fmt::join(names(), ", "));
  CpuModel model;
  model.name_ = row->name;
  if (row->level == Level::kHost) {
    model.vendor_ = host.vendor;
    model.amd_ = host.vendor == "AuthenticAMD" || host.vendor == "HygonGenuine";
    model.brand_ = host.brand;
    model.signature_ = host.signature;
    model.features_ = host_model_features(host, model.amd_);
    if (!model.amd_) model.features_.reset(feature_index(Feature::kCmpLegacy));
  } else {
    model.vendor_ = kIntel;
    model.brand_ = row->brand;
    model.signature_ = kNamedSignature;
    VELLUM_TRY_ASSIGN(features, named_model_features(*row, host));
    model.features_ = features;
  }
  return model;
}

u64 CpuModel::cr4_valid_bits() const {
  struct Gate {
    u64 bits;
    Feature feature;
  };
  constexpr std::array<Gate, 15> kGates{{
      {cr4::kVme | cr4::kPvi, Feature::kVme},
      {cr4::kTsd, Feature::kTsc},
      {cr4::kDe, Feature::kDe},
      {cr4::kPse, Feature::kPse},
      {cr4::kPae, Feature::kPae},
      {cr4::kMce, Feature::kMce},
      {cr4::kPge, Feature::kPge},
      {cr4::kOsfxsr, Feature::kFxsr},
      {cr4::kOsxmmexcpt, Feature::kSse},
      {cr4::kUmip, Feature::kUmip},
      {cr4::kFsgsbase, Feature::kFsgsbase},
      {cr4::kPcide, Feature::kPcid},
      {cr4::kOsxsave, Feature::kXsave},
      {cr4::kSmep, Feature::kSmep},
      {cr4::kSmap, Feature::kSmap},
  }};
  u64 valid = cr4::kPce;  // no CPUID bit of its own
  for (const Gate& gate : kGates)
    if (has(gate.feature)) valid |= gate.bits;
  return valid;
}

u64 CpuModel::xcr0_valid_bits() const {
  if (!has(Feature::kXsave)) return 0;
  return xcr0::kX87 | xcr0::kSse | (has(Feature::kAvx) ? xcr0::kAvx : 0);
}

u64 CpuModel::efer_valid_bits() const {
  u64 valid = 0;
  if (has(Feature::kSyscall)) valid |= efer::kSce;
  if (has(Feature::kLm)) valid |= efer::kLme | efer::kLma;
  if (has(Feature::kNx)) valid |= efer::kNxe;
  if (has(Feature::kFxsrOpt)) valid |= efer::kFfxsr;
  return valid;
}

u64 CpuModel::arch_capabilities() const {
  namespace ac = arch_capabilities;
  if (!has(Feature::kArchCapabilities)) return 0;
  return ac::kRdclNo | ac::kIbrsAll | ac::kSkipVmentry | ac::kMdsNo | ac::kIfPschangeMcNo | ac::kTaaNo |
         ac::kSbdrSsdpNo | ac::kFbsdpNo | ac::kPsdpNo | ac::kBhiNo | ac::kPbrsbNo | ac::kGdsNo | ac::kRfdsNo |
         ac::kItsNo;
}

}  // namespace vellum::x86
