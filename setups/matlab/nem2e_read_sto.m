function table = nem2e_read_sto(path)
%NEM2E_READ_STO  Read an OpenSim .sto or .mot file.
%
%   TABLE = NEM2E_READ_STO(PATH) returns a struct:
%      time     (samples x 1) in s
%      labels   (1 x columns) cell array of text, without 'time'
%      data     (samples x columns), in the units of the file
%
%   Example: the refined activation of one muscle
%      table = nem2e_read_sto('results/walking_activation.sto');
%      soleus = table.data(:, strcmp(table.labels, 'soleus_r'));
%
%   In MATLAB, array2table(table.data, 'VariableNames', table.labels) makes a table of it. The header that OpenSim 4.6
%   damages when CMC ends is not read: mend such a file by 'opensim-nem2e repair FILE' first.

[stream, reason] = fopen(path, 'r');
if stream < 0
    error('nem2e:read_sto:file', 'The file ''%s'' cannot be read: %s', path, reason);
end
closing = onCleanup(@() fclose(stream));
line = '';
while ischar(line) && ~strcmpi(strtrim(line), 'endheader')
    line = fgetl(stream);
end
labels = '';
if ischar(line)
    labels = fgetl(stream);
end
if ~ischar(labels) || isempty(strtrim(labels))
    error('nem2e:read_sto:header', 'The file ''%s'' has no ''endheader'' with column labels below it.', path);
end
labels = regexp(strtrim(labels), '\s+', 'split');
[values, count] = fscanf(stream, '%f', [numel(labels), Inf]);
values = values';
rest = fread(stream, [1, Inf], '*char');
whole = count > 0 && mod(count, numel(labels)) == 0 && isempty(strtrim(rest));
if ~strcmpi(labels{1}, 'time') || ~whole
    error('nem2e:read_sto:data', ['The file ''%s'' is not a whole table of numbers with the first column ''time''. ', ...
        'A header damaged by OpenSim 4.6 is mended by ''opensim-nem2e repair''.'], path);
end
table = struct('time', values(:, 1), 'labels', {labels(2:end)}, 'data', values(:, 2:end));
end
