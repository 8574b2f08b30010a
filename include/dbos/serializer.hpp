// The formats in which values are stored, by the name that stands in the column `serialization`.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "dbos/export.hpp"
#include "dbos/value.hpp"

namespace dbos {

/// One stored format. A program may derive its own and give it to client and application (option
/// `serializer`).
///
/// Implementations are immutable and are called from several threads. Encoders throw EncodeError for what the
/// format cannot hold; decoders throw DecodeError with one of its refusal codes. SQL NULL never reaches a
/// serializer: it means "no value" (decode to null, to no arguments); the null *value* is text.
class DBOS_EXPORT Serializer {
   public:
    virtual ~Serializer();
    /// The name in the column `serialization`; exact, case-sensitive.
    virtual std::string_view name() const noexcept = 0;
    virtual std::string encode_inputs(const Arguments& arguments) const = 0;
    virtual Arguments decode_inputs(std::string_view text) const = 0;
    /// Outputs, step outputs, events, messages, stream values, schedule contexts.
    virtual std::string encode(const Value& value) const = 0;
    virtual Value decode(std::string_view text) const = 0;
    virtual std::string encode_error(const Failure& failure) const = 0;
    /// `raw` and `format` of the result are set.
    virtual Failure decode_error(std::string_view text) const = 0;

   protected:
    Serializer() = default;
    Serializer(const Serializer&) = default;
    Serializer& operator=(const Serializer&) = default;
};

/// What the portable_json writer does with what some languages would round.
struct PortableOptions {
    /// Refuse integers beyond ±(2^53 - 1), which TypeScript reads as rounded doubles. Otherwise every size is
    /// written exactly, as Python does.
    bool refuse_unsafe_integers = false;
    /// Refuse instants finer than a millisecond, the precision of Python and TypeScript. Otherwise up to nine
    /// digits are written, as Go and Java do.
    bool refuse_sub_millisecond = false;
};

namespace serializers {
/// `portable_json`: plain JSON, read by every SDK. The default of C++ applications.
DBOS_EXPORT std::shared_ptr<const Serializer> portable_json(PortableOptions options = {});
}  // namespace serializers

/// The built-in serializer of exactly this name; nullptr if there is none (a custom format, or NULL and '',
/// which the caller decides by the application's own format).
DBOS_EXPORT const Serializer* find_serializer(std::string_view name) noexcept;

/// Reads an error cell, never throws for its content: by the declared format, else by its shape, else the
/// whole text is the message of an error named `error`. (TypeScript and Go executors write errors that do not
/// match the column.) `format` may be nullptr.
DBOS_EXPORT Failure read_failure(std::string_view text, const Serializer* format);

}  // namespace dbos
