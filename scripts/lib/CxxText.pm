# Reading C++ text for the checks in scripts/: which files, and what in them is comment, string or code.
package CxxText;
use strict;
use warnings;
use Exporter 'import';
use File::Find;
use FindBin;
our @EXPORT_OK = qw(project_files blank_comments split_strings);

my $token = qr{
      (?<comment> //[^\n]*(?:\\\n[^\n]*)* | /\*.*?\*/ )
    | (?<raw> \b(?:u8|[uUL])?R"(?<tag>[^()\\\s]{0,16})\((?<content>.*?)\)\g{tag}" )
    | (?<string> "(?:[^"\\\n]|\\.)*" )
    | (?<char> (?<![0-9a-fA-F])'(?:[^'\\\n]|\\.)+' )
}xs;

# C++ sources and headers below the given folders of the project, as paths relative to it; makes it the current folder.
sub project_files {
    my @folders = @_;
    chdir($ENV{DBOS_CHECK_ROOT} // "$FindBin::Bin/..") or die "cannot enter the project: $!\n";
    my @files;
    find({no_chdir => 1, wanted => sub { push @files, $_ if -f && /\.(?:cpp|hpp|h|cc)$/ }}, grep { -d } @folders);
    return sort @files;
}

sub blank { my ($text) = @_; $text =~ s/[^\n]/ /g; return $text; }

# The text with comments blanked; line numbers and columns stay.
sub blank_comments {
    my ($text) = @_;
    $text =~ s/$token/defined $+{comment} ? blank($&) : $&/ge;
    return $text;
}

# (code, strings…): the text with the contents of string and character literals blanked, and the literals as
# [position, content], adjacent ones joined. #include "…" lines stay as they are.
sub split_strings {
    my ($text) = @_;
    my @strings;
    my $end = -1;
    my $code = '';
    my $last = 0;
    while ($text =~ /(?<include>^[ \t]*#[ \t]*include[^\n]*)|$token/gm) {
        my ($from, $to, $all) = ($-[0], $+[0], $&);
        next if defined $+{include};
        my ($is_raw, $content) = (defined $+{raw}, $+{content});
        $content = substr($all, 1, -1) if !$is_raw;
        if (substr($all, -1) eq '"') {
            if (@strings && substr($text, $end, $from - $end) =~ /^\s*$/) { $strings[-1][1] .= $content; }
            else { push @strings, [$from, $content]; }
            $end = $to;
        }
        $code .= substr($text, $last, $from - $last) . '"' . blank(substr($all, 1, -1)) . '"';
        $last = $to;
    }
    return ($code . substr($text, $last), @strings);
}

1;
