#include "space/learn/trees.h"

#include <xgboost/c_api.h>

#include <algorithm>
#include <cassert>
#include <cmath>
#include <limits>
#include <mutex>
#include <numeric>

#include "space/learn/model_file.h"

namespace nas::learn {
namespace {

Result<void> check(int code) {
  if (code == 0) return {};
  std::string message = XGBGetLastError();
  message = message.substr(0, message.find('\n'));
  return Error{"XGBoost: " + message};
}

// Frees a DMatrix.
class Data {
 public:
  Data() = default;
  Data(const Data&) = delete;
  Data& operator=(const Data&) = delete;
  ~Data() {
    if (handle_ != nullptr) XGDMatrixFree(handle_);
  }
  Result<void> fill(const Matrix& x) {
    const std::vector<float> values(x.values.begin(), x.values.end());
    return check(XGDMatrixCreateFromMat(values.data(), x.rows, x.columns,
                                        std::numeric_limits<float>::quiet_NaN(), &handle_));
  }
  Result<void> set(const char* field, std::span<const double> numbers) {
    const std::vector<float> values(numbers.begin(), numbers.end());
    return check(XGDMatrixSetFloatInfo(handle_, field, values.data(), values.size()));
  }
  DMatrixHandle get() const { return handle_; }

 private:
  DMatrixHandle handle_ = nullptr;
};

}  // namespace

struct Trees::Handle {
  BoosterHandle booster = nullptr;
  mutable std::mutex mutex;  // the library's prediction cache is not guarded
  Handle() = default;
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;
  ~Handle() {
    if (booster != nullptr) XGBoosterFree(booster);
  }
  Result<void> set(const char* name, const std::string& value) const {
    return check(XGBoosterSetParam(booster, name, value.c_str()));
  }
};

Result<Trees> Trees::fit(const Matrix& x, std::span<const double> y, const TreeOptions& options,
                         std::span<const double> weights) {
  if (x.rows == 0 || x.columns == 0) return usage_error("a fit needs at least one row and one feature");
  if (y.size() != x.rows) return usage_error("a fit needs one target per row");
  const auto finite = [](double v) { return std::isfinite(v); };
  if (!std::all_of(x.values.begin(), x.values.end(), finite)) return usage_error("a feature is not finite");
  if (!std::all_of(y.begin(), y.end(), finite)) return usage_error("a target is not finite");
  Trees trees;
  trees.features_ = x.columns;
  trees.offset_ = std::accumulate(y.begin(), y.end(), 0.0) / static_cast<double>(y.size());
  std::vector<double> centred(y.begin(), y.end());
  for (double& v : centred) v -= trees.offset_;
  Data data;
  NAS_CHECK(data.fill(x));
  NAS_CHECK(data.set("label", centred));
  if (!weights.empty()) NAS_CHECK(data.set("weight", weights));
  auto handle = std::make_shared<Handle>();
  const DMatrixHandle matrices[] = {data.get()};
  NAS_CHECK(check(XGBoosterCreate(matrices, 1, &handle->booster)));
  const std::pair<const char*, std::string> parameters[] = {
      {"nthread", "1"},
      {"verbosity", "0"},
      {"tree_method", "hist"},
      {"max_bin", "256"},
      {"base_score", "0"},
      {"objective", options.loss == TreeLoss::squared ? "reg:squarederror" : "reg:absoluteerror"},
      {"max_depth", std::to_string(options.depth)},
      {"eta", std::to_string(options.learning_rate)},
      {"subsample", std::to_string(options.row_share)},
      {"colsample_bytree", std::to_string(options.column_share)},
      {"min_child_weight", std::to_string(options.min_weight)},
      {"lambda", std::to_string(options.lambda)},
      {"seed", std::to_string(options.seed % 2147483647)},
  };
  for (const auto& [name, value] : parameters) NAS_CHECK(handle->set(name, value));
  for (int round = 0; round < options.rounds; ++round) {
    NAS_CHECK(check(XGBoosterUpdateOneIter(handle->booster, round, data.get())));
  }
  trees.handle_ = std::move(handle);
  return trees;
}

std::vector<double> Trees::predict(const Matrix& x) const {
  assert(x.columns == features_);
  std::vector<double> out(x.rows, offset_);
  if (x.rows == 0) return out;
  Data data;
  if (!data.fill(x)) return out;
  const std::lock_guard lock(handle_->mutex);
  bst_ulong length = 0;
  const float* values = nullptr;
  const int code = XGBoosterPredict(handle_->booster, data.get(), 0, 0, 0, &length, &values);
  assert(code == 0 && length == x.rows);
  if (code != 0 || length != x.rows) return out;
  for (std::size_t i = 0; i < x.rows; ++i) out[i] += static_cast<double>(values[i]);
  return out;
}

std::string Trees::save() const {
  bst_ulong length = 0;
  const char* bytes = nullptr;
  const int code = XGBoosterSaveModelToBuffer(handle_->booster, R"({"format":"json"})", &length, &bytes);
  assert(code == 0);
  ModelWriter writer("trees");
  writer.number("features", static_cast<double>(features_));
  writer.number("offset", offset_);
  writer.text("xgboost", code == 0 ? std::string_view(bytes, length) : std::string_view{});
  return std::move(writer).finish();
}

Result<Trees> Trees::load(std::string_view content, const std::string& where) {
  NAS_TRY(reader, ModelReader::open(content, where, "trees"));
  NAS_TRY(features, reader.count("features", 1, 1 << 24));
  NAS_TRY(offset, reader.number("offset"));
  NAS_TRY(text, reader.text("xgboost"));
  Trees trees;
  trees.features_ = features;
  trees.offset_ = offset;
  auto handle = std::make_shared<Handle>();
  NAS_CHECK(check(XGBoosterCreate(nullptr, 0, &handle->booster)));
  if (auto loaded = check(XGBoosterLoadModelFromBuffer(handle->booster, text.data(), text.size())); !loaded) {
    return reader.error("the trees do not load: " + loaded.error().message);
  }
  NAS_CHECK(handle->set("nthread", "1"));
  bst_ulong found = 0;
  NAS_CHECK(check(XGBoosterGetNumFeature(handle->booster, &found)));
  if (found != features) return reader.error("the trees' number of features does not match");
  trees.handle_ = std::move(handle);
  return trees;
}

}  // namespace nas::learn
