#include "space/big_count.h"

#include <algorithm>
#include <cstdio>

namespace nas {

BigCount::BigCount(std::uint64_t value) {
  for (; value > 0; value /= kBase) digits_.push_back(static_cast<std::uint32_t>(value % kBase));
}

BigCount& BigCount::operator+=(const BigCount& other) {
  digits_.resize(std::max(digits_.size(), other.digits_.size()));
  std::uint64_t carry = 0;
  for (std::size_t i = 0; i < digits_.size(); ++i) {
    carry += std::uint64_t{digits_[i]} + (i < other.digits_.size() ? other.digits_[i] : 0);
    digits_[i] = static_cast<std::uint32_t>(carry % kBase);
    carry /= kBase;
  }
  if (carry > 0) digits_.push_back(static_cast<std::uint32_t>(carry));
  return *this;
}

BigCount& BigCount::operator*=(const BigCount& other) {
  std::vector<std::uint32_t> product(digits_.size() + other.digits_.size(), 0);
  for (std::size_t i = 0; i < digits_.size(); ++i) {
    std::uint64_t carry = 0;
    for (std::size_t j = 0; j < other.digits_.size() || carry > 0; ++j) {
      carry += product[i + j];
      if (j < other.digits_.size()) carry += std::uint64_t{digits_[i]} * other.digits_[j];
      product[i + j] = static_cast<std::uint32_t>(carry % kBase);
      carry /= kBase;
    }
  }
  while (!product.empty() && product.back() == 0) product.pop_back();
  digits_ = std::move(product);
  return *this;
}

std::string BigCount::to_string() const {
  if (digits_.empty()) return "0";
  std::string text = std::to_string(digits_.back());
  for (std::size_t i = digits_.size() - 1; i-- > 0;) {
    char part[16];
    std::snprintf(part, sizeof part, "%09u", digits_[i]);
    text += part;
  }
  return text;
}

long double BigCount::approximately() const {
  long double value = 0;
  for (std::size_t i = digits_.size(); i-- > 0;) value = value * static_cast<long double>(kBase) + digits_[i];
  return value;
}

}  // namespace nas
