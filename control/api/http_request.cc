#include "api/http_request.h"

#include <http_parser.h>

#include "control_bounds.h"

namespace slipway {

namespace {

constexpr std::size_t kMaxTargetBytes = 8u << 10;

int hex(char c) {
  return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

bool percent_decode(std::string_view text, bool plus_is_space, std::string& out) {
  out.clear();
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '%') {
      const int high = i + 2 < text.size() ? hex(text[i + 1]) : -1;
      const int low = i + 2 < text.size() ? hex(text[i + 2]) : -1;
      if (high < 0 || low < 0) {
        return false;
      }
      out += static_cast<char>(high << 4 | low);
      i += 2;
    } else {
      out += plus_is_space && text[i] == '+' ? ' ' : text[i];
    }
  }
  return true;
}

struct HttpRequestParser::Impl {
  http_parser parser;
  HttpRequest request;
  std::string target;
  std::size_t head_bytes = 0;
  bool complete = false;
  bool begun = false;
  int status = 0;
  std::string fault;

  void reset() {
    http_parser_init(&parser, HTTP_REQUEST);
    parser.data = this;
    request = {};
    target.clear();
    head_bytes = 0;
    complete = begun = false;
  }
  int refuse(int with_status, const char* why) {
    if (status == 0) {
      status = with_status;
      fault = why;
    }
    return 1;
  }
  static Impl& of(http_parser* parser) { return *static_cast<Impl*>(parser->data); }
};

namespace {

bool split_target(std::string_view target, HttpRequest& request) {
  const auto mark = target.find('?');
  if (target.empty() || target[0] != '/' || !percent_decode(target.substr(0, mark), false, request.path)) {
    return false;
  }
  auto rest = mark == std::string_view::npos ? std::string_view{} : target.substr(mark + 1);
  while (!rest.empty()) {
    const auto end = rest.find('&');
    const auto pair = rest.substr(0, end);
    rest = end == std::string_view::npos ? std::string_view{} : rest.substr(end + 1);
    const auto equals = pair.find('=');
    std::string key;
    std::string value;
    if (!percent_decode(pair.substr(0, equals), true, key) ||
        (equals != std::string_view::npos && !percent_decode(pair.substr(equals + 1), true, value))) {
      return false;
    }
    request.query[key] = value;
  }
  return true;
}

}  // namespace

HttpRequestParser::HttpRequestParser() : impl_(std::make_unique<Impl>()) { impl_->reset(); }
HttpRequestParser::~HttpRequestParser() = default;
HttpRequestParser::HttpRequestParser(HttpRequestParser&&) noexcept = default;
HttpRequestParser& HttpRequestParser::operator=(HttpRequestParser&&) noexcept = default;

HttpRequestParser::State HttpRequestParser::feed(std::span<const char> bytes, std::size_t& used) {
  static const http_parser_settings kSettings = [] {
    http_parser_settings s;
    http_parser_settings_init(&s);
    s.on_message_begin = [](http_parser* p) {
      Impl::of(p).begun = true;
      return 0;
    };
    s.on_url = [](http_parser* p, const char* at, std::size_t length) {
      auto& i = Impl::of(p);
      if (i.target.size() + length > kMaxTargetBytes) {
        return i.refuse(414, "the request's address is too long");
      }
      i.target.append(at, length);
      return 0;
    };
    const auto count_head = [](http_parser* p, const char*, std::size_t length) {
      auto& i = Impl::of(p);
      i.head_bytes += length;
      return i.head_bytes > kMaxRequestHeadBytes ? i.refuse(431, "the request's head is too long") : 0;
    };
    s.on_header_field = count_head;
    s.on_header_value = count_head;
    s.on_headers_complete = [](http_parser* p) {
      auto& i = Impl::of(p);
      if (p->upgrade) {
        i.refuse(501, "no upgrades here");
        return -1;
      }
      if ((p->flags & F_CONTENTLENGTH) != 0 && p->content_length > kMaxRequestBodyBytes) {
        i.refuse(413, "the request's body is too long");
        return -1;
      }
      return 0;
    };
    s.on_body = [](http_parser* p, const char* at, std::size_t length) {
      auto& i = Impl::of(p);
      if (i.request.body.size() + length > kMaxRequestBodyBytes) {
        return i.refuse(413, "the request's body is too long");
      }
      i.request.body.append(at, length);
      return 0;
    };
    s.on_message_complete = [](http_parser* p) {
      auto& i = Impl::of(p);
      i.complete = true;
      i.request.keep_alive = http_should_keep_alive(p) != 0;
      i.request.method = http_method_str(static_cast<http_method>(p->method));
      if (!split_target(i.target, i.request)) {
        return i.refuse(400, "the request's address makes no sense");
      }
      http_parser_pause(p, 1);  // what follows is another request
      return 0;
    };
    return s;
  }();
  used = 0;
  if (impl_->status != 0) {
    return State::kFault;
  }
  impl_->begun = impl_->begun || !bytes.empty();
  used = http_parser_execute(&impl_->parser, &kSettings, bytes.data(), bytes.size());
  if (impl_->complete && impl_->status == 0) {
    return State::kComplete;
  }
  const auto error = HTTP_PARSER_ERRNO(&impl_->parser);
  if (impl_->status != 0 || error != HPE_OK) {
    impl_->refuse(error == HPE_HEADER_OVERFLOW ? 431 : 400, http_errno_description(error));
    return State::kFault;
  }
  return State::kMore;
}

bool HttpRequestParser::begun() const { return impl_->begun; }

HttpRequest HttpRequestParser::take() {
  auto request = std::move(impl_->request);
  impl_->reset();
  return request;
}

int HttpRequestParser::fault_status() const { return impl_->status; }
const std::string& HttpRequestParser::fault() const { return impl_->fault; }

}  // namespace slipway
