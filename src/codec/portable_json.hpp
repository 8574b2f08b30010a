// portable_json: plain JSON, the format that every SDK reads and writes.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "dbos/serializer.hpp"
#include "value/json.hpp"

namespace dbos {

class PortableJson final : public Serializer {
   public:
    explicit PortableJson(PortableOptions options = {}, JsonLimits limits = {});
    std::string_view name() const noexcept override;
    std::string encode_inputs(const Arguments& arguments) const override;
    Arguments decode_inputs(std::string_view text) const override;
    std::string encode(const Value& value) const override;
    Value decode(std::string_view text) const override;
    std::string encode_error(const Failure& failure) const override;
    Failure decode_error(std::string_view text) const override;

   private:
    PortableOptions options_;
    JsonLimits limits_;
};

/// The error of a parsed portable record: an object with `name`, `message`, `code`, `data`; nullopt for other
/// values. A missing name is `Error`, a null message is empty.
std::optional<Failure> portable_failure(const Value& record);

}  // namespace dbos
