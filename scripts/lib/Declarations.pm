# What the public headers declare: the methods and fields of classes, as text for pages and names for checks. Knows the layout
# that clang-format gives to this project, not C++.
package Declarations;
use strict;
use warnings;
use Exporter 'import';
use CxxText qw(blank_comments);
our @EXPORT_OK = qw(members declaration struct_text);

sub slurp { my ($path) = @_; open my $handle, '<', $path or return; local $/; return scalar <$handle>; }

# Position behind the bracket that closes the one at $at.
sub behind {
    my ($text, $at) = @_;
    my $open = substr($text, $at, 1);
    my $close = {'(' => ')', '{' => '}', '<' => '>'}->{$open};
    my $depth = 0;
    for (my $i = $at; $i < length $text; $i++) {
        my $c = substr($text, $i, 1);
        $depth++ if $c eq $open;
        return $i + 1 if $c eq $close && --$depth == 0;
    }
    return length $text;
}

# (from, to) of the body of a class or struct in the text without comments, or nothing.
sub body {
    my ($code, $class) = @_;
    my $special = $class =~ /</ ? '' : '(?:<[^;{]*>)?';
    return unless $code =~ /^(?:class|struct)\s+(?:DBOS_EXPORT\s+)?\Q$class\E$special\s*(?::[^;{]*)?\{/m;
    return ($+[0], behind($code, $+[0] - 1) - 1);
}

my %cache;
# The public members of a class: a list of {name, text, method}. Overloads that exist only for their error messages are left
# out, and arguments of contracts read `A...`.
sub members {
    my ($path, $class) = @_;
    return @{$cache{"$path $class"}} if $cache{"$path $class"};
    my $source = slurp($path);
    die "there is no $path\n" if !defined $source;
    my $code = blank_comments($source);
    my ($at, $end) = body($code, $class);
    die "$path has no class $class\n" if !defined $at;
    my $public = $code =~ /^struct\s+(?:DBOS_EXPORT\s+)?\Q$class\E\b/m;
    my (@found, $statement);
    my $finish = sub {
        my $text = $statement;
        $statement = '';
        while ($text =~ s/^\s*(public|private|protected):(?!:)//) { $public = $1 eq 'public'; }
        push @found, describe($text) if $public && $text =~ /\S/;
    };
    $statement = '';
    while ($at < $end) {
        my $c = substr($code, $at, 1);
        if ($c eq '(' || $c eq '{') {
            my $to = behind($code, $at);
            if ($c eq '{' && $statement !~ /=\s*$/) {   # the body of a function or of a type
                $finish->();
                $to++ while substr($code, $to, 1) =~ /[\s;]/ && $to < $end;
            } else {
                $statement .= substr($code, $at, $to - $at);
            }
            $at = $to;
        } elsif ($c eq ';') {
            $finish->();
            $at++;
        } else {
            $statement .= $c;
            $at++;
        }
    }
    my @members = grep { defined } @found;
    $cache{"$path $class"} = \@members;
    return @members;
}

sub describe {
    my ($text) = @_;
    $text =~ s/^\s+|\s+$//g;
    return if $text =~ /^(?:friend|using|struct|class|static_assert)\b|only_named_members|= delete$/;
    return if $text =~ /requires\(!detail::fits/;
    $text =~ s/detail::argument_t<A>/A/g;
    $text =~ s/\s+/ /g;
    $text =~ s/\( /(/g;
    $text =~ s/^((?:template <[^<>]*> )?)(?:explicit )?/$1/;
    my $from = $text =~ /^template </ ? behind($text, 9) : 0;
    if (substr($text, $from) =~ /^[^=(]*?(~?\w+)\(/) {
        my ($name, $to) = ($1, behind($text, $from + $+[0] - 1));
        my $rest = substr($text, $to);
        $text = substr($text, 0, $to) . ($rest =~ /^((?: const| noexcept)+)/ ? $1 : '');
        return {name => $name, text => $text, method => 1};
    }
    return {name => $1, text => $text, method => 0} if $text =~ /(\w+)(?: =.*)?$/;
    return;
}

# The declaration of a member in lines of at most 96 characters.
sub declaration {
    my ($text) = @_;
    $text .= ';';
    return $text if length $text <= 96;
    my $lines = '';
    if ($text =~ /^template </) {
        my $to = behind($text, 9);
        $lines = substr($text, 0, $to) . "\n";
        $text = substr($text, $to + 1);
    }
    my $line = '';
    for my $word (split /(?<=,) /, $text) {
        if ($line ne '' && length("$line $word") > 96) {
            $lines .= "$line\n";
            $line = "    $word";
        } else {
            $line .= ($line eq '' ? '' : ' ') . $word;
        }
    }
    return $lines . $line;
}

# A struct as its header writes it, comments too, but for what exists only to be in the way.
sub struct_text {
    my ($path, $class) = @_;
    my $source = slurp($path);
    die "there is no $path\n" if !defined $source;
    if ($source =~ /^((?:struct|enum class) (?:DBOS_EXPORT )?\Q$class\E(?: : [\w:]+)? \{\n.*?\n\};)/ms) {
        my $text = $1;
        $text =~ s/DBOS_EXPORT //;
        $text =~ s/^    detail::named_members_only[^\n]*\n//m;
        return $text;
    }
    die "$path has no struct $class\n";
}

1;
