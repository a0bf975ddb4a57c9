#include "edge/transport_http_head.h"

#include <strings.h>

#include <algorithm>

namespace slipway {

HttpHead::HttpHead(bool request, std::size_t max_bytes) : max_bytes_(max_bytes) {
  http_parser_init(&parser_, request ? HTTP_REQUEST : HTTP_RESPONSE);
}

HttpHead::State HttpHead::feed(std::span<const std::byte> bytes, std::size_t& used) {
  static const http_parser_settings kSettings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_url = [](http_parser* p, const char* at, std::size_t n) {
      static_cast<HttpHead*>(p->data)->url_.append(at, n);
      return 0;
    };
    s.on_header_field = [](http_parser* p, const char* at, std::size_t n) {
      auto& self = *static_cast<HttpHead*>(p->data);
      if (self.in_value_) {
        self.headers_.emplace_back();
        self.in_value_ = false;
      }
      std::transform(at, at + n, std::back_inserter(self.headers_.back().name),
                     [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
      return 0;
    };
    s.on_header_value = [](http_parser* p, const char* at, std::size_t n) {
      auto& self = *static_cast<HttpHead*>(p->data);
      self.in_value_ = true;
      self.headers_.back().value.append(at, n);
      return 0;
    };
    s.on_headers_complete = [](http_parser* p) {
      static_cast<HttpHead*>(p->data)->complete_ = true;
      return 1;  // whatever follows is not a body
    };
    return s;
  }();
  parser_.data = this;
  used = 0;
  // Byte by byte: the parser then stops exactly behind the head. A head comes once a connection.
  for (const std::byte byte : bytes) {
    if (++bytes_ > max_bytes_) {
      too_large_ = true;
      return State::kFault;
    }
    ++used;
    const char c = static_cast<char>(byte);
    const std::size_t parsed = http_parser_execute(&parser_, &kSettings, &c, 1);
    if (complete_) {
      return State::kComplete;
    }
    if (parsed != 1 || parser_.http_errno != HPE_OK) {
      return State::kFault;
    }
  }
  return State::kMore;
}

std::string_view HttpHead::header(std::string_view name) const {
  const auto found = std::find_if(headers_.begin(), headers_.end(), [&](const TransportHeader& h) { return h.name == name; });
  return found == headers_.end() ? std::string_view() : std::string_view(found->value);
}

bool HttpHead::has_token(std::string_view name, std::string_view token) const {
  for (const TransportHeader& header : headers_) {
    if (header.name != name) {
      continue;
    }
    std::string_view rest = header.value;
    while (!rest.empty()) {
      std::string_view part = rest.substr(0, rest.find(','));
      rest.remove_prefix(std::min(rest.size(), part.size() + 1));
      while (!part.empty() && (part.front() == ' ' || part.front() == '\t')) {
        part.remove_prefix(1);
      }
      while (!part.empty() && (part.back() == ' ' || part.back() == '\t')) {
        part.remove_suffix(1);
      }
      if (part.size() == token.size() && strncasecmp(part.data(), token.data(), part.size()) == 0) {
        return true;
      }
    }
  }
  return false;
}

}  // namespace slipway
