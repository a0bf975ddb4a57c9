// encode() and decode() of any wire struct, and ListView's walk.
#pragma once

#include "message/reader.h"
#include "message/writer.h"

namespace slipway::mls {

template <class T>
void encode_to(Bytes& out, const T& value) {
  Writer writer(out);
  writer(value);
}
template <class T>
Bytes encode(const T& value) {
  Bytes out;
  encode_to(out, value);
  return out;
}
// For structs that hold secrets.
template <class T>
SecretBytes encode_secret(const T& value) {
  SecretBytes out;
  SecretWriter writer(out);
  writer(value);
  return out;
}

// All of `input`, or an error: kMalformed, kTooLarge, kTooMany, kDuplicateEntry, kUnsupported.
template <class T>
Result<T> decode(View input, const Limits& limits = kDefaultLimits) {
  Reader reader(input, limits);
  T value;
  reader(value);
  MLS_TRY(reader.finish());
  return value;
}

template <class T>
template <class F>
Status ListView<T>::for_each(F&& f, const Limits& limits) const {
  Reader reader(encoded_, limits);
  for (size_t count = 0; !reader.at_end(); ++count) {
    if (count >= limit_) {
      return fail(ErrorCode::kTooMany, "reading a list: more entries than its bound");
    }
    T entry{};
    reader(entry);
    MLS_TRY(reader.status());
    MLS_TRY(f(std::move(entry)));
  }
  return reader.status();
}
template <class T>
template <class F>
Status ListView<T>::for_each(F&& f) const {
  return for_each(std::forward<F>(f), kDefaultLimits);
}

}  // namespace slipway::mls
